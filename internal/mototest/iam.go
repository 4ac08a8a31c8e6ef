package mototest

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Key is the access key of an IAM user.
type Key struct{ ID, Secret string }

// AddUser makes an IAM user who may make the given calls ("*" for all), by
// their IAM actions. It must come before Enforce.
func AddUser(t *testing.T, endpoint, name string, actions ...string) Key {
	t.Helper()
	policy, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{
		map[string]any{"Effect": "Allow", "Action": actions, "Resource": "*"}}})
	if err != nil {
		t.Fatal(err)
	}
	callIAM(t, endpoint, url.Values{"Action": {"CreateUser"}, "UserName": {name}})
	callIAM(t, endpoint, url.Values{"Action": {"PutUserPolicy"}, "UserName": {name}, "PolicyName": {"p"}, "PolicyDocument": {string(policy)}})
	var out struct {
		ID     string `xml:"CreateAccessKeyResult>AccessKey>AccessKeyId"`
		Secret string `xml:"CreateAccessKeyResult>AccessKey>SecretAccessKey"`
	}
	if err := xml.Unmarshal(callIAM(t, endpoint, url.Values{"Action": {"CreateAccessKey"}, "UserName": {name}}), &out); err != nil || out.ID == "" {
		t.Fatalf("moto's access key: %v", err)
	}
	return Key{out.ID, out.Secret}
}

// callIAM makes a call that is signed in form only, which does while moto
// enforces nothing.
func callIAM(t *testing.T, endpoint string, form url.Values) []byte {
	t.Helper()
	form.Set("Version", "2010-05-08")
	return post(t, endpoint+"/", form.Encode(), map[string]string{
		"Content-Type":  "application/x-www-form-urlencoded",
		"Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0",
	})
}

// Enforce has moto check signatures and IAM policies from now on; "Enforcing IAM
// in server mode" in moto's documentation.
func Enforce(t *testing.T, endpoint string) {
	t.Helper()
	post(t, endpoint+"/moto-api/reset-auth", "0", nil)
}

func post(t *testing.T, to, body string, header map[string]string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, answer)
	}
	if err != nil {
		t.Fatal(err)
	}
	return answer
}
