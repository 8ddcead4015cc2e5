//! A response of an operation with secrets is masked. The first byte of an input is the number of one
//! of [`OPERATIONS`], the rest is the body.

use bytes::Bytes;
use guard_daemon::aws::catalog::Output;
use guard_daemon::aws::{self, BodyView, Call, Protocol};
use guard_daemon::broker::DummyCredentials;
use guard_daemon::mask::minted::{Fresh, Mints};
use guard_daemon::mask::{Minting, mask_response};

use crate::request::Request;

/// Requests that ask for secrets, as `request` has them, in each format of their answers.
const OPERATIONS: [&[u8]; 5] = [
    b"POST secretsmanager.us-east-1.amazonaws.com / - us-east-1 secretsmanager\nx-amz-target: secretsmanager.GetSecretValue\ncontent-type: application/x-amz-json-1.1\n\n{\"SecretId\":\"s\"}",
    b"POST sts.us-east-1.amazonaws.com / - us-east-1 sts\ncontent-type: application/x-www-form-urlencoded\n\nAction=GetSessionToken&Version=2011-06-15",
    b"GET lambda.us-east-1.amazonaws.com /2015-03-31/functions/f - us-east-1 lambda\n",
    b"POST iam.amazonaws.com / - us-east-1 iam\ncontent-type: application/x-www-form-urlencoded\n\nAction=CreateAccessKey&Version=2010-05-08",
    b"POST codepipeline.us-east-1.amazonaws.com /service/CodePipeline_20150709/operation/PollForJobs - us-east-1 codepipeline\nsmithy-protocol: rpc-v2-cbor\n\n\xa0",
];

/// What was masked is masked, so masking it again changes nothing, and it is still of its format.
pub(crate) fn run(data: &[u8]) {
    let Some((&number, body)) = data.split_first() else {
        return;
    };
    let operation = OPERATIONS[usize::from(number) % OPERATIONS.len()];
    let request = Request::read(operation).expect("a request");
    let view = request.view(BodyView::Whole(request.body));
    let call = aws::identify(&view, request.scope(), None, &[]).expect("a known call");
    let output = call.output.expect("an answer with secrets");
    let mask = |body: Bytes| {
        let mut parts = http::Response::new(()).into_parts().0;
        mask_response(output, call.protocol, &mut parts, body, &|_| true, None)
    };
    mint(&call, output, body);
    let Ok((once, paths)) = mask(Bytes::copy_from_slice(body)) else {
        return;
    };
    let (twice, again) = mask(once.clone()).expect("what was masked can be masked");
    assert_eq!(once, twice);
    assert_eq!(paths, again);
    let json = matches!(call.protocol, Protocol::Json11 | Protocol::RestJson);
    let read = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).is_ok();
    assert!(!json || !read(body) || read(&once));
}

/// Of credentials that were replaced, the real ones are not there any more.
fn mint(call: &Call, output: Output, body: &[u8]) {
    let mut candidates = call.candidates.iter();
    let Some(mints) = candidates.find_map(|(service, operation)| Mints::of(service, operation))
    else {
        return;
    };
    let mut secrets = Vec::new();
    let mut issue = |fresh: Fresh| {
        secrets.push(fresh.secret_access_key);
        DummyCredentials::temporary()
    };
    let mut minting = Minting {
        mints,
        issue: &mut issue,
    };
    let mut parts = http::Response::new(()).into_parts().0;
    let body = Bytes::copy_from_slice(body);
    let masked = mask_response(
        output,
        call.protocol,
        &mut parts,
        body,
        &|_| false,
        Some(&mut minting),
    );
    if let Ok((after, _)) = masked {
        for secret in secrets {
            let found = after
                .windows(secret.len())
                .any(|it| it == secret.as_bytes());
            // One of a few letters may be a part of anything.
            assert!(!found || secret.len() < 8);
        }
    }
}
