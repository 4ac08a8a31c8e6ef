package dynamo

import "testing"

// TestOneConditionOnTheSortKey is what DynamoDB takes.
func TestOneConditionOnTheSortKey(t *testing.T) {
	for q, want := range map[query]string{
		{partition: "p"}:                        "#p = :p",
		{partition: "p", from: "a"}:             "#p = :p AND #k >= :from",
		{partition: "p", below: "b"}:            "#p = :p AND #k < :below",
		{partition: "p", from: "a", below: "b"}: "#p = :p AND #k BETWEEN :from AND :below",
	} {
		in := q.input("t")
		if got := *in.KeyConditionExpression; got != want {
			t.Errorf("%+v: %s, want %s", q, got, want)
		}
		names := 1
		if q.from != "" || q.below != "" {
			names = 2
		}
		if len(in.ExpressionAttributeNames) != names {
			t.Errorf("%+v: names %v; DynamoDB refuses what is not used", q, in.ExpressionAttributeNames)
		}
	}
}
