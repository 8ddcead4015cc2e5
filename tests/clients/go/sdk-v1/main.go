// The AWS SDK for Go v1, for the tests to run confined. usage: sdk-v1 [identity|all]
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/aws/aws-sdk-go/aws"
	"github.com/aws/aws-sdk-go/aws/awserr"
	"github.com/aws/aws-sdk-go/aws/request"
	"github.com/aws/aws-sdk-go/aws/session"
	"github.com/aws/aws-sdk-go/service/dynamodb"
	"github.com/aws/aws-sdk-go/service/s3"
	"github.com/aws/aws-sdk-go/service/s3/s3manager"
	"github.com/aws/aws-sdk-go/service/secretsmanager"
	"github.com/aws/aws-sdk-go/service/sts"
)

func main() {
	here, err := session.NewSessionWithOptions(session.Options{SharedConfigState: session.SharedConfigEnable})
	must(err)
	credentials, err := here.Config.Credentials.Get()
	must(err)
	identity, err := sts.New(here).GetCallerIdentity(nil)
	must(err)
	fmt.Println("go v1", credentials.ProviderName, *identity.Account)
	if len(os.Args) < 2 || os.Args[1] != "all" {
		return
	}

	store := s3.New(here)
	bucket := aws.String("go-v1")
	_, err = store.CreateBucket(&s3.CreateBucketInput{Bucket: bucket})
	must(err)
	data := bytes.Repeat([]byte("guard"), 2_000_000)
	_, err = store.PutObject(&s3.PutObjectInput{Bucket: bucket, Key: aws.String("whole"), Body: bytes.NewReader(data)})
	must(err)
	// In parts of 5 MiB, from a stream of unknown length.
	_, err = s3manager.NewUploader(here).Upload(&s3manager.UploadInput{
		Bucket: bucket, Key: aws.String("parts +/ä"), Body: io.MultiReader(bytes.NewReader(data)),
	})
	must(err)
	for _, key := range []string{"whole", "parts +/ä"} {
		got, err := store.GetObject(&s3.GetObjectInput{Bucket: bucket, Key: &key})
		must(err)
		read, err := io.ReadAll(got.Body)
		must(err)
		fmt.Println("object identical", bytes.Equal(read, data), key)
	}

	secret, err := secretsmanager.New(here).GetSecretValue(&secretsmanager.GetSecretValueInput{SecretId: aws.String("go")})
	must(err)
	fmt.Println("secret", *secret.SecretString)

	attempts := 0
	tables := dynamodb.New(here)
	tables.Handlers.Send.PushFront(func(_ *request.Request) { attempts++ })
	_, err = tables.CreateTable(&dynamodb.CreateTableInput{
		TableName:            aws.String("go-v1"),
		BillingMode:          aws.String("PAY_PER_REQUEST"),
		KeySchema:            []*dynamodb.KeySchemaElement{{AttributeName: aws.String("k"), KeyType: aws.String("HASH")}},
		AttributeDefinitions: []*dynamodb.AttributeDefinition{{AttributeName: aws.String("k"), AttributeType: aws.String("S")}},
	})
	var refused awserr.Error
	fmt.Println("denied", errors.As(err, &refused) && refused.Code() == "AccessDeniedException", "attempts", attempts, err)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
