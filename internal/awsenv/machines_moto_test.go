//go:build moto

package awsenv

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"

	"secbot/internal/mototest"
)

// TestMachinesOnMoto: the contract on another stand-in for AWS, which knows no task
// tokens.
func TestMachinesOnMoto(t *testing.T) {
	cfg := onCloud(mototest.Start(t))
	client := sfn.NewFromConfig(cfg)
	made, err := client.CreateStateMachine(t.Context(), &sfn.CreateStateMachineInput{Name: aws.String("m"),
		Definition: aws.String(`{"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":3600,"End":true}}}`),
		RoleArn:    aws.String("arn:aws:iam::123456789012:role/m")})
	if err != nil {
		t.Fatal(err)
	}
	machineContract(t, NewMachines(cfg), *made.StateMachineArn, func(execution string) string {
		if _, err := client.StopExecution(t.Context(), &sfn.StopExecutionInput{ExecutionArn: &execution}); err != nil {
			t.Fatal(err)
		}
		return "" // moto keeps none
	})
}
