//! A DNS message is read, and answered.

#[path = "../../../../guard-daemon/src/intercept/resolver/question.rs"]
#[expect(dead_code, reason = "the target calls a part of it")]
mod message;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RData;
use message::Reading;

/// Every reply is a response with the message's own number, and names for hosts are plain.
pub(crate) fn run(data: &[u8]) {
    let replies = match message::read(data) {
        Reading::Nothing => return,
        Reading::Malformed { reply, why } => {
            assert!(!why.is_empty());
            vec![reply]
        }
        Reading::Question(question) => {
            assert!(
                !question.shown.chars().any(char::is_control),
                "{}",
                question.shown
            );
            if let Some(host) = question.host() {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                assert!(host.bytes().all(plain), "{host:?}");
                assert!(
                    !host.bytes().any(|byte| byte.is_ascii_uppercase()),
                    "{host:?}"
                );
            }
            let address = RData::A(std::net::Ipv4Addr::new(198, 18, 0, 1).into());
            vec![
                question.reply(ResponseCode::NoError, Some(address)),
                question.reply(ResponseCode::NXDomain, None),
                question.blocked(),
            ]
        }
    };
    for reply in replies {
        assert!(
            reply.len() >= 12 && reply.len() <= 1232,
            "{} bytes",
            reply.len()
        );
        assert_eq!(reply[..2], data[..2], "the message's number");
        assert_eq!(reply[2] & 0x80, 0x80, "a response");
    }
}
