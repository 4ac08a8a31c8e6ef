//go:build moto

package dynamo_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"

	"secbot/internal/mototest"
	"secbot/internal/plainbody"
	"secbot/remediation"
	"secbot/remediation/store/dynamo"
	"secbot/remediation/store/storetest"
)

func config(url string) aws.Config {
	return aws.Config{
		Region: "us-east-1", BaseEndpoint: &url, Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "secret", ""),
		APIOptions: []func(*middleware.Stack) error{plainbody.Use},
	}
}

func TestContractMoto(t *testing.T) {
	cfg := config(mototest.Serial(t, mototest.Start(t)))
	var tables atomic.Int32
	storetest.Run(t, func(t *testing.T) remediation.Store {
		s := dynamo.New(cfg, dynamo.Options{Table: fmt.Sprint("secbot-", tables.Add(1))})
		if err := s.CreateTable(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// TestLargeRowsMoto: a plan that DynamoDB doesn't take goes to S3; without a
// bucket it is refused, with what to do.
func TestLargeRowsMoto(t *testing.T) {
	cfg := config(mototest.Start(t))
	bucket := "secbot-rows"
	if _, err := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
	with, without := dynamo.New(cfg, dynamo.Options{Table: "secbot", Bucket: bucket}), dynamo.New(cfg, dynamo.Options{Table: "secbot"})
	if err := with.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 500<<10)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	state, err := json.Marshal(hex.EncodeToString(noise))
	if err != nil {
		t.Fatal(err)
	}
	inc := &remediation.Incident{ID: "i", Key: "k", Status: remediation.StatusOpen, Plan: &remediation.Plan{Before: state}}
	if err := without.Commit(t.Context(), remediation.Write{Incident: inc}); err == nil || inc.Version != 0 {
		t.Errorf("without a bucket: %v", err)
	}
	if err := with.Commit(t.Context(), remediation.Write{Incident: inc}); err != nil {
		t.Fatal(err)
	}
	got, err := with.Active(t.Context(), "k")
	if err != nil || !bytes.Equal(got.Plan.Before, state) {
		t.Errorf("it does not come back: %v", err)
	}
}

// TestNoTable: opening calls nobody; what follows says what is missing.
func TestNoTable(t *testing.T) {
	s := dynamo.New(config("http://127.0.0.1:1"), dynamo.Options{Table: "nobody"})
	if err := s.Ping(t.Context()); err == nil {
		t.Error("a table that nobody serves can be reached")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, dynamo.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
