package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"secbot/remediation"
	"secbot/remediation/store"
	"secbot/remediation/store/bolt"
	"secbot/remediation/store/dynamo"
	"secbot/remediation/store/memory"
)

// noAWS fails where a store that needs no AWS asks for it.
func noAWS() (aws.Config, error) { return aws.Config{}, errors.New("AWS was asked for") }

func TestOpenDynamo(t *testing.T) {
	config := func() (aws.Config, error) { return aws.Config{Region: "us-east-1"}, nil }
	for url, ok := range map[string]bool{
		"dynamodb://secbot": true, "dynamodb://Secbot_1.a-b": true, "dynamodb://secbot?bucket=large-rows": true,
		"dynamodb://": false, "dynamodb://secbot/x": false, "dynamodb://secbot?buckett=x": false, "dynamodb://u:p@secbot": false,
	} {
		s, err := store.Open(url, config)
		if _, isDynamo := s.(*dynamo.Store); isDynamo != ok || (err == nil) != ok {
			t.Errorf("%s gave a %T and %v", url, s, err)
		}
		if ok && !store.Shared(url) {
			t.Errorf("%s is not shared", url)
		}
	}
	if _, err := store.Open("dynamodb://secbot", noAWS); err == nil {
		t.Error("without AWS a table was opened")
	}
	if store.Shared("bolt://secbot.db") || store.Shared("memory://") {
		t.Error("a store of one process is called shared")
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for url, file := range map[string]string{
		"bolt://secbot.db":           "secbot.db",
		"bolt://data/secbot.db":      "data/secbot.db",
		"bolt://" + dir + "/abs.db":  "abs.db",
		"bolt://100%25 of it?x=1.db": "100%25 of it?x=1.db",
	} {
		s, err := store.Open(url, noAWS)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		defer s.Close()
		if _, isBolt := s.(*bolt.Store); !isBolt {
			t.Errorf("%s gave a %T", url, s)
		}
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			t.Errorf("%s: %v", url, err)
		}
		if err := s.Commit(t.Context(), remediation.Write{Jobs: []*remediation.Job{{ID: "j"}}}); err != nil {
			t.Errorf("%s: commit: %v", url, err)
		}
	}
	s, err := store.Open("memory://", noAWS)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, isMemory := s.(*memory.Store); !isMemory {
		t.Errorf("memory:// gave a %T", s)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, url := range []string{"", "secbot.db", "bolt", "bolt:", "bolt:/secbot.db", "bolt://", "memory", "memory://x", "redis://localhost", "BOLT://secbot.db"} {
		s, err := store.Open(url, noAWS)
		if !errors.Is(err, store.ErrURL) || s != nil {
			t.Errorf("%q: got %v, %v, want ErrURL", url, s, err)
			continue
		}
		for _, scheme := range []string{"bolt://", "memory://"} {
			if !strings.Contains(err.Error(), scheme) {
				t.Errorf("%q: the error does not say %s: %v", url, scheme, err)
			}
		}
	}
	if s, err := store.Open("bolt://.", noAWS); err == nil || s != nil {
		t.Errorf("a directory: got %v, %v, want nil and an error", s, err)
	}
}

func TestPath(t *testing.T) {
	for url, want := range map[string]string{
		"bolt://secbot.db":              "secbot.db",
		"bolt:///var/lib/secbot.db":     "/var/lib/secbot.db",
		"bolt://":                       "",
		"memory://":                     "",
		"dynamodb://table":              "",
		"/var/lib/secbot.db":            "",
		"bolt://./with space/secbot.db": "./with space/secbot.db",
	} {
		got, ok := store.Path(url)
		if got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", url, got, ok, want)
		}
	}
}
