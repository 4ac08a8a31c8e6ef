package remediation

// Sample is an invented finding with a name, to try a policy on.
type Sample struct {
	Name    string
	Finding Finding
}

// Samples are the findings that people most often want to know the policy's
// answer for.
func Samples() []Sample {
	port := func(p int32) *int32 { return &p }
	group := func(name string, severity Severity, r Rule) Sample {
		r.Severity = severity
		return Sample{name, Finding{
			Playbook: "sg-rule-added", Severity: severity, Direction: r.Direction, Name: "web", Rules: []Rule{r}, Actor: sampleActor(),
			Resource: Ref{Kind: KindSecurityGroup, Account: "111122223333", Region: "us-east-1", ID: "sg-0123456789abcdef0"},
		}}
	}
	bucket := func(name, playbook string, severity Severity, o Openness) Sample {
		return Sample{name, Finding{
			Playbook: playbook, Severity: severity, Openness: []Openness{o}, Actor: sampleActor(),
			Resource: Ref{Kind: KindBucket, Account: "111122223333", Region: "us-east-1", ID: "example-bucket"},
		}}
	}
	in, out := Ingress, Egress
	return []Sample{
		group("SSH open to the world", SeverityCritical, Rule{Direction: in, Protocol: "tcp", FromPort: port(22), ToPort: port(22), CIDR: "0.0.0.0/0", Openness: OpenWorld}),
		group("all traffic from ::/0", SeverityCritical, Rule{Direction: in, Protocol: "-1", CIDR: "::/0", Openness: OpenWorld}),
		group("HTTPS open to the world", SeverityMedium, Rule{Direction: in, Protocol: "tcp", FromPort: port(443), ToPort: port(443), CIDR: "0.0.0.0/0", Openness: OpenWorld}),
		group("a partner's range on 8443", SeverityLow, Rule{Direction: in, Protocol: "tcp", FromPort: port(8443), ToPort: port(8443), CIDR: "198.51.100.0/24", Openness: OpenNarrow}),
		group("PostgreSQL out to the world", SeverityMedium, Rule{Direction: out, Protocol: "tcp", FromPort: port(5432), ToPort: port(5432), CIDR: "0.0.0.0/0", Openness: OpenWorld}),
		bucket("bucket readable by its ACL", "s3-public-acl", SeverityHigh, PublicRead),
		bucket("bucket writable by its ACL", "s3-public-acl", SeverityCritical, PublicWrite),
		bucket("bucket readable by its policy", "s3-public-policy", SeverityHigh, PublicRead),
		bucket("Block Public Access taken away", "s3-block-public-access", SeverityMedium, Unblocked),
	}
}

func sampleActor() Actor {
	return Actor{Type: "IAMUser", ARN: "arn:aws:iam::111122223333:user/example", Account: "111122223333", SourceIP: "192.0.2.1"}
}
