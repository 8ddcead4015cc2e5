//! What the hand-written access tables make of calls: one case per way of writing a resource.

use super::tests::{ACCOUNT, call, shown};

/// Prefix of the account's ARNs, in `expected` as `@`.
const HERE: &str = "us-east-1:123456789012:";

fn check(line: &str, scope: &str, headers: &[(&str, &str)], body: &str, expected: &str) {
    let found = shown(&call(line, scope, headers, body, Some(ACCOUNT))).replace(HERE, "@");
    assert_eq!(found, expected, "{line} {headers:?} {body}");
}

fn json(host: &str, scope: &str, target: &str, body: &str, expected: &str) {
    let line = format!("POST {host}.us-east-1.amazonaws.com/");
    check(&line, scope, &[("x-amz-target", target)], body, expected);
}

fn form(host: &str, scope: &str, version: &str, body: &str, expected: &str) {
    let line = format!("POST {host}.us-east-1.amazonaws.com/");
    let kind = ("content-type", "application/x-www-form-urlencoded");
    check(
        &line,
        scope,
        &[kind],
        &format!("{body}&Version={version}"),
        expected,
    );
}

#[test]
fn names_arns_and_defaults() {
    let ecs = |operation: &str, body: &str, expected: &str| {
        let target = format!("AmazonEC2ContainerServiceV20141113.{operation}");
        json("ecs", "ecs", &target, body, expected);
    };
    ecs(
        "DeleteCluster",
        r#"{"cluster":"c"}"#,
        "ecs:DeleteCluster ecs:@cluster/c",
    );
    ecs(
        "DeleteCluster",
        "{}",
        "ecs:DeleteCluster ecs:@cluster/default",
    );
    ecs(
        "StopTask",
        r#"{"task":"t"}"#,
        "ecs:StopTask ecs:@task/default/t",
    );
    // The cluster's name is in an ARN, which no template takes.
    ecs(
        "StopTask",
        r#"{"cluster":"arn:aws:ecs:us-east-1:1:cluster/c","task":"t"}"#,
        "ecs:StopTask ?",
    );
    ecs(
        "RunTask",
        r#"{"taskDefinition":"f:1","overrides":{"taskRoleArn":"arn:aws:iam::1:role/r"}}"#,
        "ecs:RunTask ecs:@task-definition/f:1; iam:PassRole iam::1:role/r",
    );
    // The latest revision's number is not in the request.
    ecs("RunTask", r#"{"taskDefinition":"f"}"#, "ecs:RunTask ?");
    ecs(
        "DescribeTasks",
        r#"{"cluster":"c","tasks":["a","arn:aws:ecs:us-east-1:1:task/c/b"]}"#,
        "ecs:DescribeTasks ecs:@task/c/a ecs:us-east-1:1:task/c/b",
    );
}

#[test]
fn a_default_bus_is_not_in_a_rule_arn() {
    let events = |operation: &str, body: &str, expected: &str| {
        json(
            "events",
            "events",
            &format!("AWSEvents.{operation}"),
            body,
            expected,
        );
    };
    events(
        "DeleteRule",
        r#"{"Name":"r"}"#,
        "events:DeleteRule events:@rule/r",
    );
    events(
        "DeleteRule",
        r#"{"Name":"r","EventBusName":"default"}"#,
        "events:DeleteRule events:@rule/r",
    );
    events(
        "DeleteRule",
        r#"{"Name":"r","EventBusName":"b"}"#,
        "events:DeleteRule events:@rule/b/r",
    );
    events(
        "DeleteRule",
        r#"{"Name":"r","EventBusName":"arn:aws:events:us-east-1:1:event-bus/b"}"#,
        "events:DeleteRule ?",
    );
    events(
        "PutEvents",
        r#"{"Entries":[{"EventBusName":"b"},{"Source":"s"}]}"#,
        "events:PutEvents events:@event-bus/b events:@event-bus/default",
    );
    events(
        "PutTargets",
        r#"{"Rule":"r","Targets":[{"Id":"1"},{"Id":"2","RoleArn":"arn:aws:iam::1:role/r"}]}"#,
        "events:PutTargets events:@rule/r; iam:PassRole iam::1:role/r",
    );
}

#[test]
fn names_in_any_case() {
    let rds = |body: &str, expected: &str| form("rds", "rds", "2014-10-31", body, expected);
    rds(
        "Action=RebootDBInstance&DBInstanceIdentifier=Prod",
        "rds:RebootDBInstance rds:@db:prod",
    );
    json(
        "glue",
        "glue",
        "AWSGlue.GetTable",
        r#"{"DatabaseName":"D","Name":"T","CatalogId":"111111111111"}"#,
        "glue:GetTable glue:us-east-1:111111111111:catalog \
         glue:us-east-1:111111111111:database/d glue:us-east-1:111111111111:table/d/t",
    );
    // A nested catalog is no account.
    json(
        "glue",
        "glue",
        "AWSGlue.GetTable",
        r#"{"DatabaseName":"d","Name":"t","CatalogId":"c"}"#,
        "glue:GetTable ?",
    );
}

#[test]
fn ec2() {
    let ec2 = |body: &str, expected: &str| form("ec2", "ec2", "2016-11-15", body, expected);
    ec2(
        "Action=CreateVolume&AvailabilityZone=a&SnapshotId=snap-1\
         &TagSpecification.1.ResourceType=volume&TagSpecification.1.Tag.1.Key=k",
        "ec2:CreateVolume ec2:@volume/* ec2:us-east-1::snapshot/snap-1; ec2:CreateTags ec2:@volume/*",
    );
    ec2(
        "Action=CreateTags&ResourceId.1=ami-1&ResourceId.2=vpc-2&ResourceId.3=new-3&Tag.1.Key=k",
        "ec2:CreateTags ec2:us-east-1::image/ami-1 ec2:@vpc/vpc-2 ?",
    );
    ec2(
        "Action=RunInstances&ImageId=ami-1&SubnetId=subnet-1&SecurityGroupId.1=sg-1&MinCount=1&MaxCount=1",
        "ec2:RunInstances ec2:@instance/* ec2:us-east-1::image/ami-1 ec2:@subnet/subnet-1 \
         ec2:@security-group/sg-1 ec2:@network-interface/* ec2:@volume/*",
    );
    ec2(
        "Action=RegisterImage&Name=n&BlockDeviceMapping.1.DeviceName=/dev/a\
         &BlockDeviceMapping.2.Ebs.SnapshotId=snap-1",
        "ec2:RegisterImage ec2:us-east-1::image/* ec2:us-east-1::snapshot/snap-1",
    );
    ec2(
        "Action=DeleteVolume&VolumeId=vol-1%20",
        "ec2:DeleteVolume ?",
    );
    // What a launch template names is not in the request.
    ec2(
        "Action=RunInstances&LaunchTemplate.LaunchTemplateId=lt-1&MinCount=1&MaxCount=1",
        "ec2:RunInstances ec2:@instance/* ? ec2:@network-interface/* ec2:@volume/* \
         ec2:@launch-template/lt-1",
    );
}

#[test]
fn other_names() {
    form(
        "sns",
        "sns",
        "2010-03-31",
        "Action=PublishBatch&TopicArn=arn:aws:sns:us-east-1:1:t",
        "sns:Publish sns:us-east-1:1:t",
    );
    let bedrock = |model: &str, expected: &str| {
        let line = format!("POST bedrock-runtime.us-east-1.amazonaws.com/model/{model}/converse");
        check(&line, "bedrock", &[], r#"{"messages":[]}"#, expected);
    };
    bedrock(
        "anthropic.claude-3-haiku-20240307-v1%3A0",
        "bedrock:InvokeModel bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0",
    );
    // A profile stands for models in several regions.
    bedrock(
        "us.anthropic.claude-3-haiku-20240307-v1%3A0",
        "bedrock:InvokeModel ?",
    );
    bedrock(
        "arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.a",
        "bedrock:InvokeModel ?",
    );
}

#[test]
fn qualified_names() {
    let states = |arn: &str, expected: &str| {
        let body = format!(r#"{{"stateMachineArn":"{arn}"}}"#);
        json(
            "states",
            "states",
            "AWSStepFunctions.StartExecution",
            &body,
            expected,
        );
    };
    states(
        "arn:aws:states:us-east-1:1:stateMachine:m",
        "states:StartExecution states:us-east-1:1:stateMachine:m",
    );
    states(
        "arn:aws:states:us-east-1:1:stateMachine:m:live",
        "states:StartExecution ?",
    );
    let lambda = |body: &str, expected: &str| {
        let line = "POST lambda.us-east-1.amazonaws.com/2015-03-31/functions";
        check(line, "lambda", &[], body, expected);
    };
    lambda(
        r#"{"FunctionName":"f","Role":"arn:aws:iam::1:role/r"}"#,
        "lambda:CreateFunction lambda:@function:f; iam:PassRole iam::1:role/r",
    );
    lambda(
        r#"{"FunctionName":"1:function:f","Role":"arn:aws:iam::1:role/r"}"#,
        "lambda:CreateFunction ?; iam:PassRole iam::1:role/r",
    );
}

#[test]
fn dynamodb_without_a_table() {
    let table = |operation: &str, body: &str, expected: &str| {
        json(
            "dynamodb",
            "dynamodb",
            &format!("DynamoDB_20120810.{operation}"),
            body,
            expected,
        );
    };
    table(
        "DeleteBackup",
        r#"{"BackupArn":"arn:aws:dynamodb:us-east-1:1:table/t/backup/b"}"#,
        "dynamodb:DeleteBackup dynamodb:us-east-1:1:table/t/backup/b",
    );
    table(
        "RestoreTableToPointInTime",
        r#"{"SourceTableName":"s","TargetTableName":"t"}"#,
        "dynamodb:RestoreTableToPointInTime dynamodb:@table/s dynamodb:@table/t",
    );
    table(
        "DescribeContributorInsights",
        r#"{"TableName":"t","IndexName":"i"}"#,
        "dynamodb:DescribeContributorInsights dynamodb:@table/t dynamodb:@table/t/index/i",
    );
}
