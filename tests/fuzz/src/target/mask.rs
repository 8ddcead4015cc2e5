//! A response of an operation with secrets is masked. The first byte of an input is the number of one
//! of [`OPERATIONS`], the rest is the body.

use bytes::Bytes;
use guard_daemon::aws::{self, BodyView, Protocol};
use guard_daemon::mask::mask_response;

use crate::request::Request;

/// Requests that ask for secrets, as `request` has them, in each format of their answers.
const OPERATIONS: [&[u8]; 4] = [
    b"POST secretsmanager.us-east-1.amazonaws.com / - us-east-1 secretsmanager\nx-amz-target: secretsmanager.GetSecretValue\ncontent-type: application/x-amz-json-1.1\n\n{\"SecretId\":\"s\"}",
    b"POST sts.us-east-1.amazonaws.com / - us-east-1 sts\ncontent-type: application/x-www-form-urlencoded\n\nAction=GetSessionToken&Version=2011-06-15",
    b"GET lambda.us-east-1.amazonaws.com /2015-03-31/functions/f - us-east-1 lambda\n",
    b"POST iam.amazonaws.com / - us-east-1 iam\ncontent-type: application/x-www-form-urlencoded\n\nAction=CreateAccessKey&Version=2010-05-08",
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
