//! The source of S3's copies: an object beside the one that the request writes.

use std::borrow::Cow;

use super::{
    Asked, arn, one,
    s3::{Kind, session},
};
use crate::aws::{Access, KeyValue, Resource, form};

/// What reading the source asks for.
pub(super) fn source(asked: &Asked<'_>) -> Vec<Access> {
    let Some(source) = Source::of(asked) else {
        return vec![
            one("s3:GetObject", Resource::Unknown),
            one("s3:GetObjectVersion", Resource::Unknown),
        ];
    };
    let action = match source.version {
        None => "GetObject",
        Some(_) => "GetObjectVersion",
    };
    let path = source.path;
    if path.starts_with("arn:") {
        return by_arn(asked, action, &path, source.is_clear);
    }
    let named = path.strip_prefix('/').unwrap_or(&path).split_once('/');
    let named = named.filter(|it| arn::is_name(it.0, "") && !it.1.is_empty());
    let Some((bucket, key)) = named else {
        return vec![one(format!("s3:{action}"), Resource::Unknown)];
    };
    let kind = Kind::of(bucket);
    let resource = match kind {
        Kind::Directory | Kind::DirectoryPoint => return vec![session(asked, bucket)],
        Kind::Bucket if source.is_clear => Resource::Arn(format!(
            "arn:{}:s3:::{bucket}/{key}",
            asked.endpoint.partition
        )),
        _ => Resource::Unknown,
    };
    let mut access = vec![one(format!("s3:{action}"), resource)];
    kind.also(asked, bucket, &mut access);
    access
}

/// `s3:VersionId` of the access to the source.
pub(super) fn version(asked: &Asked<'_>) -> KeyValue {
    match Source::of(asked).map(|it| it.version) {
        Some(None) => KeyValue::Absent,
        Some(Some(version)) if arn::is_name(&version, "") => KeyValue::One(version),
        _ => KeyValue::Unknown,
    }
}

/// `[/]bucket/key[?versionId=…]`, or an access point's ARN with `/object/key`.
struct Source {
    /// What stands before the version, decoded.
    path: String,
    /// It has no `+` as it is, which S3 may take for a space.
    is_clear: bool,
    version: Option<String>,
}

impl Source {
    /// `None` where it is given twice, or what belongs to the key and what to a query is not sure.
    fn of(asked: &Asked<'_>) -> Option<Self> {
        let mut headers = asked.request.headers.get_all("x-amz-copy-source").iter();
        let moved: Vec<Cow<'_, str>> = form::pairs(asked.request.query.as_bytes())
            .flatten()
            .filter(|it| it.0.eq_ignore_ascii_case("x-amz-copy-source"))
            .map(|it| it.1)
            .collect();
        let whole = match (headers.next(), headers.next(), moved.as_slice()) {
            (Some(value), None, []) => Cow::Borrowed(value.to_str().ok()?),
            (None, None, [_]) => moved.into_iter().next()?,
            _ => return None,
        };
        let (path, version) = match whole.split_once('?') {
            None => (whole.as_ref(), None),
            Some((path, query)) => {
                let version = query.strip_prefix("versionId=");
                (path, Some(version.filter(|it| !it.is_empty())?))
            }
        };
        // Some servers decode first, and then look for the query.
        let decoded = form::decode(path.as_bytes(), false).filter(|it| !it.contains('?'))?;
        Some(Self {
            is_clear: !path.contains('+'),
            path: decoded.into_owned(),
            version: version.map(str::to_owned),
        })
    }
}

fn by_arn(asked: &Asked<'_>, action: &str, path: &str, is_clear: bool) -> Vec<Access> {
    let service = arn::parts(path).map_or("", |it| it.service);
    match service {
        "s3-outposts" => vec![one(format!("s3-outposts:{action}"), Resource::Unknown)],
        // What is asked for is not documented.
        "s3-object-lambda" => ["s3", service]
            .map(|it| one(format!("{it}:{action}"), Resource::Unknown))
            .to_vec(),
        "s3express" => vec![one("s3express:CreateSession", Resource::Unknown)],
        _ => {
            let resource = if is_clear {
                by_point(asked, path)
            } else {
                Resource::Unknown
            };
            vec![one(format!("s3:{action}"), resource)]
        }
    }
}

/// The object that a copy source names by an access point: `arn:…:s3:{region}:{account}:accesspoint/{name}/object/{key}`.
/// What others stand for (a multi-region access point) the request does not tell.
fn by_point(asked: &Asked<'_>, arn: &str) -> Resource {
    let known = arn::parts(arn).is_some_and(|it| {
        let object = it
            .resource
            .strip_prefix("accesspoint/")
            .and_then(|rest| rest.split_once("/object/"));
        it.partition == asked.endpoint.partition
            && it.service == "s3"
            && !it.region.is_empty()
            && !it.account.is_empty()
            && arn::is_place(it.region, it.account)
            && object.is_some_and(|(name, key)| arn::is_name(name, "") && !key.is_empty())
    });
    if known {
        Resource::Arn(arn.to_owned())
    } else {
        Resource::Unknown
    }
}

#[cfg(test)]
mod tests {
    use crate::aws::iam::tests::{ACCOUNT, call, call_for, key, shown};

    type Headers<'a> = &'a [(&'a str, &'a str)];

    const DIRECTORY: &str = "d--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com/k";

    /// What a copy asks for beside the write of its target.
    fn source(host: &str, headers: &[(&str, &str)]) -> String {
        let scope = if host.contains("s3express") {
            "s3express"
        } else {
            "s3"
        };
        let read = call(&format!("PUT {host}"), scope, headers, "", Some(ACCOUNT));
        let whole = shown(&read);
        let (target, source) = whole.split_once("; ").unwrap();
        let wanted = match scope {
            "s3express" => {
                "s3express:CreateSession s3express:us-east-1:123456789012:bucket/d--use1-az4--x-s3"
            }
            _ => "s3:PutObject s3:::b/k",
        };
        assert_eq!(target, wanted, "{headers:?}");
        source.to_owned()
    }

    #[test]
    fn directory_buckets() {
        let point = "s3express:CreateSession s3express:us-east-1:123456789012";
        let bucket = format!("{point}:bucket/e--use1-az4--x-s3");
        let point = format!("{point}:accesspoint/a--use1-az4--xa-s3");
        for host in ["b.s3.amazonaws.com/k", DIRECTORY] {
            for (given, wanted) in [
                ("src/k", "s3:GetObject s3:::src/k"),
                ("src/k?versionId=v", "s3:GetObjectVersion s3:::src/k"),
                ("src", "s3:GetObject ?"),
                ("e--use1-az4--x-s3/k", &bucket),
                ("/e--use1-az4--x-s3/k", &bucket),
                ("a--use1-az4--xa-s3/k", &point),
            ] {
                let found = source(host, &[("x-amz-copy-source", given)]);
                assert_eq!(found, wanted, "{given} to {host}");
            }
        }
        let part = format!("{DIRECTORY}?partNumber=1&uploadId=u");
        let found = source(&part, &[("x-amz-copy-source", "src/k")]);
        assert_eq!(found, "s3:GetObject s3:::src/k");
        let at_point = "GET a--use1-az4--xa-s3.s3express-use1-az4.us-east-1.amazonaws.com/k";
        let found = shown(&call(at_point, "s3express", &[], "", Some(ACCOUNT)));
        assert_eq!(found, point);
    }

    #[test]
    fn aliases() {
        for (given, wanted) in [
            ("a-s3alias/k", "s3:GetObject ?"),
            ("a-S3Alias/k", "s3:GetObject ?"),
            ("m.mrap/k?versionId=v", "s3:GetObjectVersion ?"),
            ("a--ol-s3/k", "s3:GetObject ?; s3-object-lambda:GetObject ?"),
            ("a--op-s3/k", "s3:GetObject ?; s3-outposts:GetObject ?"),
            ("a--table-s3/k", "s3:GetObject ?; s3tables:GetTableData ?"),
            ("s3alias/k", "s3:GetObject s3:::s3alias/k"),
            (
                "arn:aws:s3-object-lambda:us-east-1:123456789012:accesspoint/a/object/k",
                "s3:GetObject ?; s3-object-lambda:GetObject ?",
            ),
        ] {
            let found = source("b.s3.amazonaws.com/k", &[("x-amz-copy-source", given)]);
            assert_eq!(found, wanted, "{given}");
        }
    }

    #[test]
    fn versions_and_tags_of_copies() {
        let copy = ("x-amz-copy-source", "src/k?versionId=v");
        let tagging = ("x-amz-tagging", "a=b");
        let version = "s3:versionid";
        let (tag, tags) = ("s3:requestobjecttag/a", "s3:requestobjecttagkeys");
        let directive = |it| ("x-amz-tagging-directive", it);
        // The key in the context of the write, and of what is asked for last: of a copy, the read of its source.
        let cases: [(Headers<'_>, &str, &str, &str); 12] = [
            (&[copy], version, "-", "v"),
            (&[("x-amz-copy-source", "src/k")], version, "-", "-"),
            (&[("x-amz-copy-source", "src/k?x=v")], version, "-", "?"),
            (
                &[("x-amz-copy-source", "src/k?versionId=v%20")],
                version,
                "-",
                "?",
            ),
            (&[copy], tag, "?", "-"),
            (&[copy, tagging], tag, "?", "-"),
            (&[copy, tagging, directive("COPY")], tag, "?", "-"),
            (&[copy, tagging, directive("REPLACE")], tag, "b", "-"),
            (&[copy, tagging, directive("REPLACE")], tags, "[a]", "-"),
            (&[copy, directive("REPLACE")], tags, "-", "-"),
            (&[copy, tagging, directive("COPY")], tags, "?", "-"),
            (&[tagging], tag, "b", "b"),
        ];
        for (headers, name, written, read) in cases {
            let line = "PUT b.s3.amazonaws.com/k";
            let found = call_for(line, "s3", headers, b"", None, &[name]);
            assert_eq!(key(&found, name, (0, 0)), written, "{name}: {headers:?}");
            let last = found.access.len() - 1;
            if last > 0 {
                assert_eq!(key(&found, name, (last, 0)), read, "{name}: {headers:?}");
            }
        }
        // Each object of the body has its own.
        let body = b"<Delete><Object><Key>a</Key><VersionId>v</VersionId></Object></Delete>";
        let line = "POST b.s3.amazonaws.com/?delete";
        let found = call_for(line, "s3", &[], body, None, &[version]);
        assert_eq!(key(&found, version, (0, 0)), "?");
    }

    #[test]
    fn a_plus_may_be_a_space() {
        for (given, wanted) in [
            ("src/a+b", "s3:GetObject ?"),
            ("src/a+b?versionId=v", "s3:GetObjectVersion ?"),
            (
                "arn:aws:s3:us-east-1:123456789012:accesspoint/a/object/a+b",
                "s3:GetObject ?",
            ),
            ("src/a%2Bb%20c", "s3:GetObject s3:::src/a+b c"),
            (
                "arn:aws:s3:us-east-1:123456789012:accesspoint/a/object/a%2Bb",
                "s3:GetObject s3:us-east-1:123456789012:accesspoint/a/object/a+b",
            ),
        ] {
            let found = source("b.s3.amazonaws.com/k", &[("x-amz-copy-source", given)]);
            assert_eq!(found, wanted, "{given}");
        }
        for (line, wanted) in [
            ("GET b.s3.amazonaws.com/a+b", "s3:GetObject ?"),
            ("GET s3.amazonaws.com/b/a+b", "s3:GetObject ?"),
            ("GET b.s3.amazonaws.com/a%2Bb", "s3:GetObject s3:::b/a+b"),
        ] {
            assert_eq!(shown(&call(line, "s3", &[], "", None)), wanted, "{line}");
        }
    }

    #[test]
    fn sources_that_cannot_be_told() {
        let unknown = "s3:GetObject ?; s3:GetObjectVersion ?";
        for given in [
            "src/k?versionId=",
            "src/k?x=y",
            "src/k?versionid=v",
            "src/%zz",
            "src/%ff",
            "src/k%3FversionId%3Dv",
        ] {
            let found = source("b.s3.amazonaws.com/k", &[("x-amz-copy-source", given)]);
            assert_eq!(found, unknown, "{given}");
        }
        let twice = [("x-amz-copy-source", "x/k"), ("x-amz-copy-source", "src/k")];
        assert_eq!(source("b.s3.amazonaws.com/k", &twice), unknown);
    }
}
