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

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn tags_and_replicas_at_creation() {
    let iam = |body: &str, expected: &str| {
        let body = format!("{body}&Version=2010-05-08");
        let kind = ("content-type", "application/x-www-form-urlencoded");
        check("POST iam.amazonaws.com/", "iam", &[kind], &body, expected);
    };
    iam(
        "Action=CreateRole&RoleName=r&Path=/a/&Tags.member.1.Key=k&Tags.member.1.Value=v",
        "iam:CreateRole iam::123456789012:role/a/r; iam:TagRole iam::123456789012:role/a/r",
    );
    iam("Action=CreateUser&UserName=u&Path=a/", "iam:CreateUser ?");
    iam(
        "Action=CreatePolicy&PolicyName=p&Tags.member.1.Key=k",
        "iam:CreatePolicy iam::123456789012:policy/p; iam:TagPolicy iam::123456789012:policy/p",
    );
    form(
        "sts",
        "sts",
        "2011-06-15",
        "Action=AssumeRole&RoleArn=arn:aws:iam::1:role/r&SourceIdentity=s\
         &ProvidedContexts.member.1.ContextAssertion=c",
        "sts:AssumeRole iam::1:role/r; sts:SetSourceIdentity iam::1:role/r; sts:SetContext iam::1:role/r",
    );
    let kms = |operation: &str, body: &str, expected: &str| {
        json(
            "kms",
            "kms",
            &format!("TrentService.{operation}"),
            body,
            expected,
        );
    };
    kms("CreateKey", "{}", "kms:CreateKey *");
    kms(
        "CreateKey",
        r#"{"Tags":[{"TagKey":"k","TagValue":"v"}]}"#,
        "kms:CreateKey *; kms:TagResource ?",
    );
    kms(
        "ReplicateKey",
        r#"{"KeyId":"mrk-1","ReplicaRegion":"eu-west-1","Tags":[]}"#,
        "kms:ReplicateKey kms:@key/mrk-1; kms:CreateKey *; \
         kms:TagResource kms:eu-west-1:123456789012:key/mrk-1",
    );
    json(
        "sqs",
        "sqs",
        "AmazonSQS.CreateQueue",
        r#"{"QueueName":"q","tags":{"k":"v"}}"#,
        "sqs:CreateQueue sqs:@q; sqs:TagQueue sqs:@q",
    );
    form(
        "sqs",
        "sqs",
        "2012-11-05",
        "Action=CreateQueue&QueueName=q&Tag.1.Key=k&Tag.1.Value=v",
        "sqs:CreateQueue sqs:@q; sqs:TagQueue sqs:@q",
    );
    json(
        "ssm",
        "ssm",
        "AmazonSSM.PutParameter",
        r#"{"Name":"/p/q","Value":"v","Tags":[{"Key":"k","Value":"v"}]}"#,
        "ssm:PutParameter ssm:@parameter/p/q; ssm:AddTagsToResource ssm:@parameter/p/q",
    );
    let secret = |operation: &str, body: &str, expected: &str| {
        let target = format!("secretsmanager.{operation}");
        json("secretsmanager", "secretsmanager", &target, body, expected);
    };
    secret(
        "CreateSecret",
        r#"{"Name":"s","Tags":[{"Key":"k"}],"AddReplicaRegions":[{"Region":"eu-west-1"}]}"#,
        "secretsmanager:CreateSecret ?; secretsmanager:TagResource ?; \
         secretsmanager:ReplicateSecretToRegions ?",
    );
    secret(
        "RotateSecret",
        r#"{"SecretId":"s","RotationLambdaARN":"arn:aws:lambda:us-east-1:1:function:f"}"#,
        "secretsmanager:RotateSecret ?; lambda:InvokeFunction lambda:us-east-1:1:function:f",
    );
    let table = |operation: &str, body: &str, expected: &str| {
        let target = format!("DynamoDB_20120810.{operation}");
        json("dynamodb", "dynamodb", &target, body, expected);
    };
    table(
        "CreateTable",
        r#"{"TableName":"t","Tags":[{"Key":"k","Value":"v"}],"ResourcePolicy":"{}"}"#,
        "dynamodb:CreateTable dynamodb:@table/t; dynamodb:TagResource dynamodb:@table/t; \
         dynamodb:PutResourcePolicy dynamodb:@table/t",
    );
    table(
        "UpdateTable",
        r#"{"TableName":"t","ReplicaUpdates":[{"Create":{"RegionName":"eu-west-1"}}]}"#,
        "dynamodb:UpdateTable dynamodb:@table/t; dynamodb:CreateTableReplica dynamodb:@table/t \
         dynamodb:eu-west-1:123456789012:table/t",
    );
    table(
        "UpdateTable",
        r#"{"TableName":"t"}"#,
        "dynamodb:UpdateTable dynamodb:@table/t",
    );
    let lambda = |path: &str, body: &str, expected: &str| {
        let line = format!("POST lambda.us-east-1.amazonaws.com/{path}");
        check(&line, "lambda", &[], body, expected);
    };
    lambda(
        "2020-04-22/code-signing-configs",
        r#"{"Tags":{"k":"v"}}"#,
        "lambda:CreateCodeSigningConfig *; lambda:TagResource ?",
    );
    lambda(
        "2015-03-31/event-source-mappings",
        r#"{"FunctionName":"f","Tags":{"k":"v"}}"#,
        "lambda:CreateEventSourceMapping *; lambda:TagResource ?",
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn what_services_read_and_write_as_the_caller() {
    let lambda = |line: &str, body: &str, expected: &str| {
        let (method, path) = line.split_once(' ').unwrap();
        let line = format!("{method} lambda.us-east-1.amazonaws.com/{path}");
        check(&line, "lambda", &[], body, expected);
    };
    lambda(
        "PUT 2015-03-31/functions/f/code",
        r#"{"S3Bucket":"b","S3Key":"a/k"}"#,
        "lambda:UpdateFunctionCode lambda:@function:f; s3:GetObject s3:::b/a/k",
    );
    lambda(
        "PUT 2015-03-31/functions/f/code",
        r#"{"ZipFile":"AA=="}"#,
        "lambda:UpdateFunctionCode lambda:@function:f",
    );
    lambda(
        "PUT 2015-03-31/functions/f/code",
        "not json",
        "lambda:UpdateFunctionCode lambda:@function:f; s3:GetObject ?; s3:GetObjectVersion ?",
    );
    lambda(
        "POST 2018-10-31/layers/l/versions",
        r#"{"Content":{"S3Bucket":"b","S3Key":"k","S3ObjectVersion":"v"}}"#,
        "lambda:PublishLayerVersion lambda:@layer:l; s3:GetObject s3:::b/k; s3:GetObjectVersion s3:::b/k",
    );
    let table = |operation: &str, body: &str, expected: &str| {
        let target = format!("DynamoDB_20120810.{operation}");
        json("dynamodb", "dynamodb", &target, body, expected);
    };
    table(
        "ImportTable",
        r#"{"S3BucketSource":{"S3Bucket":"b","S3KeyPrefix":"p/"},"TableCreationParameters":{"TableName":"t"}}"#,
        "dynamodb:ImportTable dynamodb:@table/t; s3:GetObject ?; s3:ListBucket s3:::b",
    );
    table(
        "ExportTableToPointInTime",
        r#"{"TableArn":"arn:aws:dynamodb:us-east-1:1:table/t","S3Bucket":"b"}"#,
        "dynamodb:ExportTableToPointInTime dynamodb:us-east-1:1:table/t; s3:PutObject ?; \
         s3:PutObjectAcl ?; s3:AbortMultipartUpload ?",
    );
    let moves = |body: &str, expected: &str| {
        json(
            "sqs",
            "sqs",
            "AmazonSQS.StartMessageMoveTask",
            body,
            expected,
        );
    };
    moves(
        r#"{"SourceArn":"arn:aws:sqs:us-east-1:1:a","DestinationArn":"arn:aws:sqs:us-east-1:1:b"}"#,
        "sqs:StartMessageMoveTask sqs:us-east-1:1:a; sqs:ReceiveMessage sqs:us-east-1:1:a; \
         sqs:DeleteMessage sqs:us-east-1:1:a; sqs:GetQueueAttributes sqs:us-east-1:1:a; \
         sqs:SendMessage sqs:us-east-1:1:b",
    );
    moves(
        r#"{"SourceArn":"arn:aws:sqs:us-east-1:1:a"}"#,
        "sqs:StartMessageMoveTask sqs:us-east-1:1:a; sqs:ReceiveMessage sqs:us-east-1:1:a; \
         sqs:DeleteMessage sqs:us-east-1:1:a; sqs:GetQueueAttributes sqs:us-east-1:1:a; sqs:SendMessage ?",
    );
    let textract = |operation: &str, body: &str, expected: &str| {
        json(
            "textract",
            "textract",
            &format!("Textract.{operation}"),
            body,
            expected,
        );
    };
    textract(
        "DetectDocumentText",
        r#"{"Document":{"S3Object":{"Bucket":"b","Name":"n"}}}"#,
        "textract:DetectDocumentText *; s3:GetObject s3:::b/n",
    );
    textract(
        "DetectDocumentText",
        r#"{"Document":{"Bytes":"AA=="}}"#,
        "textract:DetectDocumentText *",
    );
    textract(
        "AnalyzeID",
        r#"{"DocumentPages":[{"Bytes":"AA=="},{"S3Object":{"Bucket":"b","Name":"n","Version":"v"}}]}"#,
        "textract:AnalyzeID *; s3:GetObject s3:::b/n; s3:GetObjectVersion s3:::b/n",
    );
    form(
        "cloudformation",
        "cloudformation",
        "2010-05-15",
        "Action=ValidateTemplate&TemplateURL=https://b.s3.amazonaws.com/t",
        "cloudformation:ValidateTemplate *; s3:GetObject ?",
    );
    form(
        "cloudformation",
        "cloudformation",
        "2010-05-15",
        "Action=ValidateTemplate&TemplateBody=t",
        "cloudformation:ValidateTemplate *",
    );
    json(
        "athena",
        "athena",
        "AmazonAthena.StartQueryExecution",
        r#"{"QueryString":"q","ResultConfiguration":{"OutputLocation":"s3://b/p/"}}"#,
        "athena:StartQueryExecution athena:@workgroup/primary; s3:PutObject ?",
    );
}

#[test]
fn secrets_among_parameters() {
    for name in [
        "/aws/reference/secretsmanager/s",
        "arn:aws:ssm:us-east-1:123456789012:parameter/aws/reference/secretsmanager/s",
    ] {
        json(
            "ssm",
            "ssm",
            "AmazonSSM.GetParameter",
            &format!(r#"{{"Name":"{name}"}}"#),
            "ssm:GetParameter ssm:@parameter/aws/reference/secretsmanager/s; \
             secretsmanager:GetSecretValue ?",
        );
    }
}

#[test]
fn roles_handed_over() {
    let ecs = |body: &str, expected: &str| {
        let target = "AmazonEC2ContainerServiceV20141113.UpdateService";
        json("ecs", "ecs", target, body, expected);
    };
    ecs(
        r#"{"cluster":"c","service":"s","loadBalancers":[{"containerName":"n"}]}"#,
        "ecs:UpdateService ecs:@service/c/s",
    );
    ecs(
        r#"{"cluster":"c","service":"s","loadBalancers":[{"containerName":"n"},
            {"advancedConfiguration":{"roleArn":"arn:aws:iam::1:role/r"}}]}"#,
        "ecs:UpdateService ecs:@service/c/s; iam:PassRole iam::1:role/r",
    );
    json(
        "cognito-identity",
        "cognito-identity",
        "AWSCognitoIdentityService.SetIdentityPoolRoles",
        r#"{"IdentityPoolId":"us-east-1:p","Roles":{"authenticated":"arn:aws:iam::1:role/r"}}"#,
        "cognito-identity:SetIdentityPoolRoles *; iam:PassRole ?",
    );
    json(
        "logs",
        "logs",
        "Logs_20140328.CreateLogGroup",
        r#"{"logGroupName":"g","tags":{"k":"v"}}"#,
        "logs:CreateLogGroup logs:@log-group:g:log-stream:; logs:TagResource logs:@log-group:g",
    );
}
