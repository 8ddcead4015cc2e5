//! A request (see `request`) is identified, its body read in whichever format it has.

use guard_daemon::aws::{self, BodyView, Operation, Resource};

use crate::request::Request;

const ACCOUNT: &str = "123456789012";

/// Condition keys that requests tell in headers, queries and bodies.
const WANTED: [&str; 8] = [
    "aws:requesttag/a",
    "aws:tagkeys",
    "dynamodb:leadingkeys",
    "ec2:instancetype",
    "iam:passedtoservice",
    "s3:prefix",
    "s3:x-amz-acl",
    "sqs:queuename",
];

/// The same bytes have one reading; it does not rest on a body that it does not ask for; no ARN holds what a policy's
/// pattern or a reader of the journal could take for something else.
pub(crate) fn run(data: &[u8]) {
    let Some(request) = Request::read(data) else {
        return;
    };
    let (whole, unread) = (
        request.view(BodyView::Whole(request.body)),
        request.view(BodyView::Unread),
    );
    for scope in [request.scope(), None] {
        let read = |view| aws::identify(view, scope, Some(ACCOUNT), &WANTED);
        let reading = read(&whole);
        let shown = format!("{reading:?}");
        assert_eq!(shown, format!("{:?}", read(&whole)), "two readings");

        let needs = aws::needs_body(&whole, scope, &WANTED);
        assert_eq!(
            needs,
            aws::needs_body(&unread, scope, &WANTED),
            "the body asks for itself"
        );
        if !needs {
            let without = format!("{:?}", read(&unread));
            assert_eq!(
                shown, without,
                "a body that is not needed changes the reading"
            );
        }

        let Ok(call) = reading else { continue };
        assert!(!call.access.is_empty(), "{call:?}");
        if let Operation::Ambiguous(names) = &call.operation {
            assert!(names.len() > 1, "{call:?}");
        }
        for access in &call.access {
            assert!(!access.resources.is_empty(), "{call:?}");
            for resource in &access.resources {
                if let Resource::Arn(arn) = resource {
                    assert!(arn.starts_with("arn:"), "{call:?}");
                    assert!(arn.split(':').count() >= 6, "{call:?}");
                    // An object's key may hold anything; what is yet to be made is `/*`, as IAM has it.
                    let odd = |it: char| it.is_control() || it == '*' || it == '?';
                    let rest = arn.strip_suffix("/*").unwrap_or(arn);
                    assert!(is_object(arn) || !rest.contains(odd), "{call:?}");
                }
            }
        }
        aws::error::protocol_of(&whole);
    }
}

fn is_object(arn: &str) -> bool {
    let service = arn.split(':').nth(2).unwrap_or_default();
    service.starts_with("s3") && arn.contains('/')
}
