package fakeaws

// s3controlPrefix begins every path of S3 Control's API, and no bucket's name.
const s3controlPrefix = "/v20180820/"

// newServices lists the services by the name in a credential scope.
func (a *AWS) newServices() map[string]*service {
	m := map[string]*service{}
	for _, s := range []*service{a.ec2Service(), a.s3Service(), a.s3controlService(), a.snsService(), a.sqsService(), a.stsService(), a.iamService(), a.configService(), a.organizationsService(), a.statesService()} {
		m[s.name] = s
	}
	return m
}
