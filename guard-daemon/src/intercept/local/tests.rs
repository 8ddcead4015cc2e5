use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::intercept::accept::accept;
use crate::intercept::tests::Stage;
use crate::policy::Length;
use crate::term::Limit;

/// A listener in the session's place that leads to `port` of the host's loopback.
async fn way_out(stage: &Arc<Stage>, port: u16, room: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let door = ToHost {
        around: stage.clone(),
        allowance: Arc::new(Semaphore::new(room)),
        sockets: Sockets::of_this_thread().unwrap(),
        port,
    };
    tokio::spawn(accept(door, listener));
    address
}

async fn way_in(stage: &Arc<Stage>, port: u16) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap();
    let door = IntoSession {
        around: stage.clone(),
        allowance: Arc::new(Semaphore::new(1)),
        namespace: Namespace::of_attached(std::process::id()).unwrap(),
        host,
        port,
    };
    tokio::spawn(accept(door, listener));
    host
}

/// A service that answers four bytes with "heard " and them; on ::1 where 127.0.0.1 is to have none.
async fn service(host: &str) -> u16 {
    let listener = TcpListener::bind((host, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut heard = [0; 4];
            if stream.read_exact(&mut heard).await.is_ok() {
                let _ = stream.write_all(b"heard ").await;
                let _ = stream.write_all(&heard).await;
            }
        }
    });
    port
}

async fn talk(address: SocketAddr) -> io::Result<String> {
    let mut client = TcpStream::connect(address).await?;
    client.write_all(b"ping").await?;
    let mut reply = String::new();
    client.read_to_string(&mut reply).await?;
    Ok(reply)
}

#[tokio::test]
async fn a_port_of_the_hosts_loopback_is_reached_and_recorded_with_its_caller() {
    for host in ["127.0.0.1", "::1"] {
        let stage = Arc::new(Stage::new());
        let port = service(host).await;
        let address = way_out(&stage, port, 1).await;
        // Processes' starts are known to a hundredth of a second.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(talk(address).await.unwrap(), "heard ping");
        let Event::ConnectionPassed {
            process,
            host,
            port: recorded,
        } = stage.last_event()
        else {
            panic!("{:?}", stage.events());
        };
        assert_eq!((host.as_str(), recorded), ("localhost", port));
        assert_eq!(process.pid, std::process::id());
    }
}

#[tokio::test]
async fn a_published_port_leads_into_the_session_and_is_recorded() {
    let stage = Arc::new(Stage::new());
    let port = service("::1").await;
    let address = way_in(&stage, port).await;
    assert_eq!(talk(address).await.unwrap(), "heard ping");
    let Event::ConnectionPublished {
        peer,
        host,
        port: recorded,
    } = stage.last_event()
    else {
        panic!("{:?}", stage.events());
    };
    assert!(peer.ip().is_loopback());
    assert_eq!((host, recorded), (address, port));
}

#[tokio::test]
async fn nothing_passes_that_was_not_recorded() {
    let stage = Arc::new(Stage::new());
    stage.break_journal();
    let port = service("127.0.0.1").await;
    for address in [way_out(&stage, port, 1).await, way_in(&stage, port).await] {
        assert!(talk(address).await.is_err());
    }
}

#[tokio::test]
async fn connections_past_the_limit_are_reset_and_so_are_those_that_nobody_serves() {
    let stage = Arc::new(Stage::new());
    let address = way_out(&stage, 9, 0).await;
    assert!(talk(address).await.is_err());
    assert_eq!(stage.refusals(), ["limit"]);

    let stage = Arc::new(Stage::new());
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    assert!(talk(way_out(&stage, port, 1).await).await.is_err());
    assert_eq!(stage.refusals(), ["upstream-connect"]);
    assert!(talk(way_in(&stage, port).await).await.is_err());
}

#[tokio::test]
async fn the_sessions_end_is_that_of_its_connections() {
    let mut stage = Stage::new();
    stage.term = Term::new(Some(Limit::starting_now(Length::seconds(1))));
    let stage = Arc::new(stage);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap().port();
    let out = way_out(&stage, silent, 2).await;
    let mut client = TcpStream::connect(out).await.unwrap();
    let (_far, _) = listener.accept().await.unwrap();
    assert!(!stage.term.enforce());
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    assert!(stage.term.enforce());
    let ended = timeout(Duration::from_secs(5), client.read(&mut [0])).await;
    assert!(matches!(ended.unwrap(), Ok(0) | Err(_)), "it goes on");
    // From now on nobody is let in, and the record says why.
    let into = way_in(&stage, silent).await;
    for address in [out, into] {
        let refused = timeout(Duration::from_secs(5), talk(address)).await;
        assert!(!matches!(refused.unwrap(), Ok(reply) if !reply.is_empty()));
    }
    assert_eq!(stage.refusals(), [ENDED, ENDED]);
}
