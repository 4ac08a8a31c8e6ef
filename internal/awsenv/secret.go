package awsenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// Secret reads a secret of Secrets Manager, by its name or ARN, which holds a JSON
// object of texts (secretsmanager:GetSecretValue). Errors tell nothing of what is in
// it.
func Secret(ctx context.Context, cfg aws.Config, id string) (map[string]string, error) {
	client := secretsmanager.NewFromConfig(cfg, func(o *secretsmanager.Options) {
		if a, err := arn.Parse(id); err == nil && a.Region != "" {
			o.Region = a.Region
		}
	})
	out, err := client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &id})
	if err != nil {
		return nil, fmt.Errorf("read the secret %s (secretsmanager:GetSecretValue, and kms:Decrypt where it has a key of its own): %w", id, err)
	}
	var values map[string]string
	if json.Unmarshal([]byte(aws.ToString(out.SecretString)), &values) != nil {
		return nil, errors.New("the secret " + id + ` must hold a JSON object of texts, as {"SLACK_BOT_TOKEN":"xoxb-…"}`)
	}
	return values, nil
}
