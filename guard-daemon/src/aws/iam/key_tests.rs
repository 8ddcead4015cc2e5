//! Condition keys that calls tell, by code and by the catalog's rules.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::tests::{ACCOUNT, call_for, key, shown};
use crate::aws::{Call, Resource};

const FORM: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];

fn place(call: &Call, ending: &str) -> (usize, usize) {
    let is = |it: &Resource| matches!(it, Resource::Arn(arn) if arn.ends_with(ending));
    let found = call.access.iter().enumerate().find_map(|(number, it)| {
        let place = it.resources.iter().position(is)?;
        Some((number, place))
    });
    found.unwrap_or_else(|| panic!("{ending} in {}", shown(call)))
}

/// `resource key value` of an EC2 call.
fn ec2(body: &str, expected: &[(&str, &str, &str)]) {
    let wanted: Vec<String> = expected.iter().map(|it| format!("ec2:{}", it.1)).collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let line = "POST ec2.us-east-1.amazonaws.com/";
    let call = call_for(line, "ec2", FORM, body.as_bytes(), Some(ACCOUNT), &wanted);
    for ((resource, _, value), name) in expected.iter().zip(&wanted) {
        let found = key(&call, name, place(&call, resource));
        assert_eq!(found, *value, "{name} on {resource}: {body}");
    }
}

#[test]
fn instances() {
    ec2(
        "Action=RunInstances&ImageId=ami-1&InstanceType=t3.micro&Placement.Tenancy=host&Placement.GroupName=g&MetadataOptions.HttpTokens=required&NetworkInterface.1.AssociatePublicIpAddress=false&NetworkInterface.1.DeviceIndex=0&BlockDeviceMapping.1.Ebs.Encrypted=true",
        &[
            (":instance/*", "instancetype", "t3.micro"),
            (":instance/*", "tenancy", "host"),
            (":instance/*", "metadatahttptokens", "required"),
            (":instance/*", "metadatahttpendpoint", "?"),
            (":instance/*", "instancemarkettype", "on-demand"),
            (
                ":instance/*",
                "placementgroup",
                "arn:aws:ec2:us-east-1:123456789012:placement-group/g",
            ),
            (":placement-group/g", "placementgroupname", "g"),
            (":placement-group/g", "tenancy", "-"),
            (":image/ami-1", "imageid", "ami-1"),
            (":network-interface/*", "associatepublicipaddress", "false"),
            // The image has volumes of its own.
            (":volume/*", "encrypted", "?"),
            (":volume/*", "instancetype", "-"),
        ],
    );
    ec2(
        "Action=RunInstances&ImageId=resolve:ssm:p&InstanceMarketOptions.MarketType=spot&LaunchTemplate.LaunchTemplateId=lt-1",
        &[
            (":instance/*", "instancemarkettype", "spot"),
            (":instance/*", "imageid", "-"),
            (
                ":instance/*",
                "launchtemplate",
                "arn:aws:ec2:us-east-1:123456789012:launch-template/lt-1",
            ),
            (":instance/*", "instancetype", "?"),
        ],
    );
    // The reservation has a type of its own; an interface that says nothing has its subnet's address setting.
    ec2(
        "Action=RunInstances&ImageId=ami-1&LaunchTemplate.LaunchTemplateId=lt-1&InstanceType=t3.micro&CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId=cr-1&NetworkInterface.1.AssociatePublicIpAddress=false&NetworkInterface.2.DeviceIndex=1",
        &[
            (":capacity-reservation/cr-1", "instancetype", "?"),
            (":instance/*", "instancemarkettype", "?"),
            (":network-interface/*", "associatepublicipaddress", "?"),
        ],
    );
    ec2(
        "Action=RunInstances&ImageId=ami-1&NetworkInterface.1.AssociatePublicIpAddress=false&NetworkInterface.2.AssociatePublicIpAddress=false",
        &[(":network-interface/*", "associatepublicipaddress", "false")],
    );
}

#[test]
fn volumes_and_subnets() {
    ec2(
        "Action=CreateVolume&AvailabilityZone=us-east-1a&Size=8&VolumeType=gp3&Encrypted=true&SnapshotId=snap-1&TagSpecification.1.ResourceType=volume&TagSpecification.1.Tag.1.Key=a",
        &[
            (":volume/*", "encrypted", "true"),
            (":volume/*", "volumesize", "8"),
            (":volume/*", "volumetype", "gp3"),
            (":volume/*", "availabilityzone", "us-east-1a"),
            (
                ":volume/*",
                "parentsnapshot",
                "arn:aws:ec2:us-east-1::snapshot/snap-1",
            ),
            // The snapshot's own.
            ("snapshot/snap-1", "encrypted", "?"),
            ("snapshot/snap-1", "volumesize", "?"),
            ("snapshot/snap-1", "region", "us-east-1"),
        ],
    );
    ec2(
        "Action=CreateVolume&AvailabilityZone=us-east-1a",
        &[(":volume/*", "encrypted", "?")],
    );
    ec2(
        "Action=CreateSubnet&VpcId=vpc-1&CidrBlock=10.0.0.0/24",
        &[(
            ":subnet/*",
            "vpc",
            "arn:aws:ec2:us-east-1:123456789012:vpc/vpc-1",
        )],
    );
}

#[test]
fn tags_at_creation() {
    let wanted = &["ec2:createaction"];
    let line = "POST ec2.us-east-1.amazonaws.com/";
    let found = |body: &str, number| {
        let call = call_for(line, "ec2", FORM, body.as_bytes(), Some(ACCOUNT), wanted);
        key(&call, wanted[0], (number, 0))
    };
    let body = "Action=CreateVolume&AvailabilityZone=a&TagSpecification.1.ResourceType=volume&TagSpecification.1.Tag.1.Key=a";
    assert_eq!(found(body, 0), "-");
    assert_eq!(found(body, 1), "CreateVolume");
    let body = "Action=CreateTags&ResourceId.1=vol-1&Tag.1.Key=a";
    assert_eq!(found(body, 0), "?");
}

#[test]
fn functions() {
    let lambda = "lambda.us-east-1.amazonaws.com";
    let mapping = &format!("POST {lambda}/2015-03-31/event-source-mappings/");
    let permission = &format!("POST {lambda}/2015-03-31/functions/f/policy");
    let url = &format!("PUT {lambda}/2021-10-31/functions/f/url");
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:f";
    let layer = "arn:aws:lambda:us-east-1:1:layer:l:1";
    for (line, body, wanted, expected) in [
        (
            mapping,
            r#"{"FunctionName":"f"}"#.to_owned(),
            "functionarn",
            arn,
        ),
        (
            mapping,
            format!(r#"{{"FunctionName":"{arn}"}}"#),
            "functionarn",
            arn,
        ),
        (
            mapping,
            format!(r#"{{"FunctionName":"{arn}:1"}}"#),
            "functionarn",
            "?",
        ),
        (
            mapping,
            r#"{"FunctionName":"f:1"}"#.to_owned(),
            "functionarn",
            "?",
        ),
        (
            permission,
            r#"{"Principal":"s3.amazonaws.com"}"#.to_owned(),
            "principal",
            "s3.amazonaws.com",
        ),
        (
            permission,
            r#"{"FunctionUrlAuthType":"NONE"}"#.to_owned(),
            "functionurlauthtype",
            "NONE",
        ),
        (permission, "{}".to_owned(), "functionurlauthtype", "-"),
        (
            url,
            r#"{"AuthType":"NONE"}"#.to_owned(),
            "functionurlauthtype",
            "NONE",
        ),
        // The one it has.
        (url, "{}".to_owned(), "functionurlauthtype", "?"),
        (
            &format!("PUT {lambda}/2015-03-31/functions/f/configuration"),
            format!(r#"{{"Layers":["{layer}"]}}"#),
            "layer",
            &format!("[{layer}]"),
        ),
    ] {
        let wanted = format!("lambda:{wanted}");
        let call = call_for(
            line,
            "lambda",
            &[],
            body.as_bytes(),
            Some(ACCOUNT),
            &[&wanted],
        );
        assert_eq!(key(&call, &wanted, (0, 0)), expected, "{line} {body}");
    }
}

#[test]
fn secrets() {
    let secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:s-aB3xYz";
    let master = "arn:aws:kms:us-east-1:123456789012:key/k-1";
    for (operation, body, wanted, expected) in [
        (
            "GetSecretValue",
            format!(r#"{{"SecretId":"{secret}"}}"#),
            "secretid",
            secret,
        ),
        (
            "GetSecretValue",
            r#"{"SecretId":"s"}"#.to_owned(),
            "secretid",
            "?",
        ),
        ("CreateSecret", r#"{"Name":"s"}"#.to_owned(), "name", "s"),
        (
            "CreateSecret",
            r#"{"KmsKeyId":"k-1"}"#.to_owned(),
            "kmskeyarn",
            master,
        ),
        (
            "CreateSecret",
            format!(r#"{{"KmsKeyId":"{master}"}}"#),
            "kmskeyarn",
            master,
        ),
        (
            "CreateSecret",
            r#"{"KmsKeyId":"alias/k"}"#.to_owned(),
            "kmskeyarn",
            "?",
        ),
        ("CreateSecret", "{}".to_owned(), "kmskeyarn", "-"),
        (
            "CreateSecret",
            r#"{"AddReplicaRegions":[{"Region":"eu-west-1"}]}"#.to_owned(),
            "addreplicaregions",
            "[eu-west-1]",
        ),
        (
            "DeleteSecret",
            r#"{"RecoveryWindowInDays":7}"#.to_owned(),
            "recoverywindowindays",
            "7",
        ),
        (
            "DeleteSecret",
            r#"{"ForceDeleteWithoutRecovery":true}"#.to_owned(),
            "forcedeletewithoutrecovery",
            "true",
        ),
    ] {
        let wanted = format!("secretsmanager:{wanted}");
        let target = format!("secretsmanager.{operation}");
        let headers = [
            ("x-amz-target", target.as_str()),
            ("content-type", "application/x-amz-json-1.1"),
        ];
        let line = "POST secretsmanager.us-east-1.amazonaws.com/";
        let call = call_for(
            line,
            "secretsmanager",
            &headers,
            body.as_bytes(),
            Some(ACCOUNT),
            &[&wanted],
        );
        assert_eq!(key(&call, &wanted, (0, 0)), expected, "{operation} {body}");
    }
}

/// The value of a tag's key is that of the only tag which has it, in any case of ASCII letters; a tag that has it only
/// by Unicode's rules makes it unknown.
#[test]
fn tags_with_letters_beyond_ascii() {
    let target = [
        ("x-amz-target", "AmazonSSM.PutParameter"),
        ("content-type", "application/x-amz-json-1.1"),
    ];
    let encoded = |tags: &[&str]| {
        let tags = tags
            .iter()
            .map(|tag| format!("{}=v", utf8_percent_encode(tag, NON_ALPHANUMERIC)));
        tags.collect::<Vec<_>>().join("&")
    };
    for (tags, wanted, expected) in [
        (&["Übung"][..], "Übung", "v"),
        (&["ÜBUNG"], "Übung", "v"),
        (&["Übung"], "übung", "?"),
        (&["übung"], "Übung", "?"),
        (&["Übung", "übung"], "Übung", "?"),
        (&["Übungen"], "Übung", "-"),
        (&["\u{212a}ey"], "key", "?"),
        (&["key"], "\u{212a}ey", "?"),
        (&["\u{212a}ey", "key"], "key", "?"),
        (&["k\u{17f}"], "ks", "?"),
        (&["t\u{130}tle"], "title", "?"),
        (&["t\u{131}tle"], "title", "?"),
        (&["ΟΔΟΣ"], "οδος", "?"),
        (&["Key"], "key", "v"),
        (&["keys"], "key", "-"),
    ] {
        let name = &format!("aws:requesttag/{wanted}");
        let list = tags
            .iter()
            .map(|it| serde_json::json!({ "Key": it, "Value": "v" }));
        let body = serde_json::json!({ "Name": "n", "Tags": list.collect::<Vec<_>>() }).to_string();
        let line = "POST ssm.us-east-1.amazonaws.com/";
        let call = call_for(
            line,
            "ssm",
            &target,
            body.as_bytes(),
            Some(ACCOUNT),
            &[name],
        );
        assert_eq!(key(&call, name, (0, 0)), expected, "{tags:?} {wanted}");

        let name = &format!("s3:requestobjecttag/{wanted}");
        let line = "PUT b.s3.us-east-1.amazonaws.com/k";
        let header = encoded(tags);
        let headers = [("x-amz-tagging", header.as_str())];
        let call = call_for(line, "s3", &headers, b"", Some(ACCOUNT), &[name]);
        assert_eq!(key(&call, name, (0, 0)), expected, "{tags:?} {wanted}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn condition_keys() {
    let json = |target: &'static str| {
        [
            ("x-amz-target", target),
            ("content-type", "application/x-amz-json-1.1"),
        ]
    };
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let sts = "POST sts.amazonaws.com/";
    let assume = "Action=AssumeRole&RoleArn=arn:aws:iam::1:role/r&RoleSessionName=s&Tags.member.1.Key=Team&Tags.member.1.Value=a&TransitiveTagKeys.member.1=Team";
    let ssm = "POST ssm.us-east-1.amazonaws.com/";
    let put = json("AmazonSSM.PutParameter");
    let kms = "POST kms.us-east-1.amazonaws.com/";
    let encrypt = json("TrentService.Encrypt");
    let context = r#"{"KeyId":"k","Plaintext":"","EncryptionContext":{"App":"x"}}"#;
    for (line, scope, headers, body, wanted, expected) in [
        (sts, "sts", &form[..], assume, "aws:requesttag/team", "a"),
        (sts, "sts", &form, assume, "aws:requesttag/other", "-"),
        (sts, "sts", &form, assume, "aws:tagkeys", "[Team]"),
        (sts, "sts", &form, assume, "sts:transitivetagkeys", "[Team]"),
        (sts, "sts", &form, assume, "sts:rolesessionname", "s"),
        (sts, "sts", &form, assume, "sts:externalid", "-"),
        (sts, "sts", &form, assume, "s3:prefix", "-"),
        (
            sts,
            "sts",
            &form,
            assume,
            "aws:requestedregion",
            "us-east-1",
        ),
        (sts, "sts", &form, assume, "aws:sourceip", "none"),
        (sts, "sts", &form, assume, "guard:session", "none"),
        // No action lists them, or no reference has them: not surely absent.
        (
            sts,
            "sts",
            &form,
            assume,
            "lambda:sourcefunctionarn",
            "none",
        ),
        (sts, "sts", &form, assume, "ec2:sourceinstancearn", "none"),
        (sts, "sts", &form, assume, "sts:newer", "none"),
        (
            ssm,
            "ssm",
            &put,
            r#"{"Name":"a","Value":"b","Overwrite":true}"#,
            "ssm:overwrite",
            "true",
        ),
        (
            ssm,
            "ssm",
            &put,
            r#"{"Name":"a","Value":"b"}"#,
            "ssm:overwrite",
            "false",
        ),
        (
            ssm,
            "ssm",
            &put,
            r#"{"Name":"a","Tags":[{"Key":"T","Value":"v"}]}"#,
            "aws:requesttag/t",
            "v",
        ),
        (
            ssm,
            "ssm",
            &put,
            r#"{"Name":"a","Tags":[{"Key":"T","Value":"v"},{"Key":"t","Value":"w"}]}"#,
            "aws:requesttag/t",
            "?",
        ),
        (ssm, "ssm", &put, "", "ssm:overwrite", "false"),
        (ssm, "ssm", &put, "no json", "ssm:overwrite", "?"),
        (
            kms,
            "kms",
            &encrypt,
            context,
            "kms:encryptioncontext:app",
            "x",
        ),
        (
            kms,
            "kms",
            &encrypt,
            context,
            "kms:encryptioncontextkeys",
            "[App]",
        ),
        (kms, "kms", &encrypt, context, "kms:viaservice", "-"),
        (kms, "kms", &encrypt, context, "kms:calleraccount", ACCOUNT),
        (
            "GET b.s3.amazonaws.com/?list-type=2&prefix=a%2F",
            "s3",
            &[],
            "",
            "s3:prefix",
            "a/",
        ),
        (
            "GET b.s3.amazonaws.com/?list-type=2",
            "s3",
            &[],
            "",
            "s3:prefix",
            "-",
        ),
        ("GET b.s3.amazonaws.com/k", "s3", &[], "", "s3:prefix", "-"),
        (
            "PUT b.s3.amazonaws.com/k",
            "s3",
            &[("x-amz-tagging", "a=b&c=d")],
            "",
            "s3:requestobjecttag/c",
            "d",
        ),
        (
            "PUT b.s3.amazonaws.com/k",
            "s3",
            &[("x-amz-tagging", "a=b&c=d")],
            "",
            "s3:requestobjecttagkeys",
            "[a,c]",
        ),
        (
            "PUT b.s3.amazonaws.com/k",
            "s3",
            &[("x-amz-acl", "private")],
            "",
            "s3:x-amz-acl",
            "private",
        ),
        (
            "PUT b.s3.amazonaws.com/k",
            "s3",
            &[],
            "",
            "s3:x-amz-acl",
            "-",
        ),
    ] {
        let call = call_for(
            line,
            scope,
            headers,
            body.as_bytes(),
            Some(ACCOUNT),
            &[wanted],
        );
        assert_eq!(
            key(&call, wanted, (0, 0)),
            expected,
            "{line} {wanted} {body}"
        );
    }
}

#[test]
fn condition_keys_by_resource() {
    let body = "Action=RunInstances&InstanceType=t3.micro&ImageId=ami-1&TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=Team&TagSpecification.1.Tag.1.Value=a";
    let wanted = ["ec2:instancetype", "aws:requesttag/team", "ec2:region"];
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let call = call_for(
        "POST ec2.us-east-1.amazonaws.com/",
        "ec2",
        &form,
        body.as_bytes(),
        Some(ACCOUNT),
        &wanted,
    );
    for (resource, expected) in [
        (":instance/*", ["t3.micro", "a", "us-east-1"]),
        (":image/ami-1", ["-", "-", "us-east-1"]),
        (":volume/*", ["-", "-", "us-east-1"]),
    ] {
        let place = call.access[0]
            .resources
            .iter()
            .position(|it| matches!(it, Resource::Arn(arn) if arn.ends_with(resource)))
            .unwrap_or_else(|| panic!("{resource} in {}", shown(&call)));
        let found = wanted.map(|it| key(&call, it, (0, place)));
        assert_eq!(found, expected, "{resource}");
    }
}
