//! Roles that S3 is handed: its calls that configure what S3 does by itself name one in the body.

use super::{Input, arn, on, one};
use crate::aws::{Access, Resource};

/// Operations, and the elements below the body's root that lead to a role, by the models in botocore.
const ROLES: &[(&str, &[&str])] = &[
    ("PutBucketReplication", &["Role"]),
    (
        "PutBucketNotificationConfiguration",
        &["CloudFunctionConfiguration", "InvocationRole"],
    ),
    (
        "CreateBucketMetadataConfiguration",
        &["AnnotationTableConfiguration", "Role"],
    ),
    (
        "UpdateBucketMetadataAnnotationTableConfiguration",
        &["Role"],
    ),
];

/// Whether the body of an operation may hand over a role.
pub(super) fn may_pass(operation: &str) -> bool {
    ROLES.iter().any(|it| it.0 == operation)
}

/// What handing over the body's roles asks for; nothing where there surely are none.
pub(super) fn passed(input: &Input<'_>, operation: &str) -> Option<Access> {
    let (_, path) = ROLES.iter().find(|it| it.0 == operation)?;
    let Some(root) = input.root() else {
        return Some(one("iam:PassRole", Resource::Unknown));
    };
    let mut found = vec![root];
    for name in *path {
        found = found.into_iter().flat_map(|it| it.named(name)).collect();
    }
    let roles: Vec<Resource> = found
        .into_iter()
        .map(|it| arn::given(it.plain(), "iam"))
        .collect();
    (!roles.is_empty()).then(|| on("iam:PassRole", roles))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use crate::aws::{
        BodyView, RequestView, Scope,
        iam::tests::{ACCOUNT, call, shown},
        needs_body,
    };

    #[test]
    fn roles_are_passed() {
        let replicate = "PUT b.s3.amazonaws.com/?replication";
        let notify = "PUT b.s3.amazonaws.com/?notification";
        let create = "POST b.s3.amazonaws.com/?metadataConfiguration";
        let update = "PUT b.s3.amazonaws.com/?metadataAnnotationTable";
        let role = "<Role>arn:aws:iam::1:role/r</Role>";
        for (line, body, wanted) in [
            (
                replicate,
                &format!("<ReplicationConfiguration>{role}<Rule/></ReplicationConfiguration>"),
                "s3:PutReplicationConfiguration s3:::b; iam:PassRole iam::1:role/r",
            ),
            (
                replicate,
                &format!("<ReplicationConfiguration>{role}{role}<Role>x</Role></ReplicationConfiguration>"),
                "s3:PutReplicationConfiguration s3:::b; iam:PassRole iam::1:role/r ?",
            ),
            (
                replicate,
                &format!("<ReplicationConfiguration>{role}"),
                "s3:PutReplicationConfiguration s3:::b; iam:PassRole ?",
            ),
            (
                create,
                &format!("<MetadataConfiguration><AnnotationTableConfiguration>{role}</AnnotationTableConfiguration></MetadataConfiguration>"),
                "s3:CreateBucketMetadataTableConfiguration s3:::b; iam:PassRole iam::1:role/r",
            ),
            (
                create,
                &"<MetadataConfiguration><JournalTableConfiguration/></MetadataConfiguration>".to_owned(),
                "s3:CreateBucketMetadataTableConfiguration s3:::b",
            ),
            (
                update,
                &format!("<AnnotationTableConfiguration>{role}</AnnotationTableConfiguration>"),
                "s3:UpdateBucketMetadataAnnotationTableConfiguration s3:::b; iam:PassRole iam::1:role/r",
            ),
            (
                notify,
                &"<NotificationConfiguration><CloudFunctionConfiguration><InvocationRole>arn:aws:iam::1:role/r</InvocationRole></CloudFunctionConfiguration></NotificationConfiguration>".to_owned(),
                "s3:PutBucketNotification s3:::b; iam:PassRole iam::1:role/r",
            ),
            (
                notify,
                &"<NotificationConfiguration><QueueConfiguration/></NotificationConfiguration>".to_owned(),
                "s3:PutBucketNotification s3:::b",
            ),
        ] {
            let found = call(line, "s3", &[], body, Some(ACCOUNT));
            assert_eq!(shown(&found), wanted, "{line}: {body}");
            let (method, rest) = line.split_once(' ').unwrap();
            let (host, query) = rest.split_once("/?").unwrap();
            let request = RequestView {
                method: &method.parse().unwrap(),
                host,
                path: "/",
                query,
                headers: &HeaderMap::new(),
                body: BodyView::Unread,
            };
            let scope = Scope {
                region: "us-east-1",
                service: "s3",
            };
            assert!(needs_body(&request, Some(scope), &[]), "{line}");
        }
    }
}
