// The AWS SDK for Go v2, for the tests to run confined. usage: sdk-v2 [identity|all]
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

func main() {
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx)
	must(err)
	credentials, err := cfg.Credentials.Retrieve(ctx)
	must(err)
	identity, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
	must(err)
	fmt.Println("go v2", credentials.Source, *identity.Account)
	if len(os.Args) < 2 || os.Args[1] != "all" {
		return
	}

	store := s3.NewFromConfig(cfg)
	bucket := aws.String("go-v2")
	_, err = store.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
	must(err)
	data := bytes.Repeat([]byte("guard"), 2_000_000)
	_, err = store.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("whole"), Body: bytes.NewReader(data)})
	must(err)
	// In parts of 5 MiB, from a stream of unknown length.
	_, err = manager.NewUploader(store).Upload(ctx, &s3.PutObjectInput{
		Bucket: bucket, Key: aws.String("parts +/ä"), Body: io.MultiReader(bytes.NewReader(data)),
	})
	must(err)
	for _, key := range []string{"whole", "parts +/ä"} {
		got, err := store.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: &key})
		must(err)
		read, err := io.ReadAll(got.Body)
		must(err)
		fmt.Println("object identical", bytes.Equal(read, data), key)
	}

	secret, err := secretsmanager.NewFromConfig(cfg).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String("go")})
	must(err)
	fmt.Println("secret", *secret.SecretString)

	attempts := 0
	tables := dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
		o.Retryer = counted{retry.NewStandard(), &attempts}
	})
	_, err = tables.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName:            aws.String("go-v2"),
		BillingMode:          types.BillingModePayPerRequest,
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("k"), KeyType: types.KeyTypeHash}},
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("k"), AttributeType: types.ScalarAttributeTypeS}},
	})
	var refused smithy.APIError
	fmt.Println("denied", errors.As(err, &refused) && refused.ErrorCode() == "AccessDeniedException", "attempts", attempts, err)
}

// The SDK's own retries, counted.
type counted struct {
	*retry.Standard
	attempts *int
}

func (c counted) GetAttemptToken(ctx context.Context) (func(error) error, error) {
	*c.attempts++
	return c.Standard.GetAttemptToken(ctx)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
