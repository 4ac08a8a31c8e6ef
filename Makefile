# The tools that the targets need are installed into .bin, pinned.
GOLANGCI_VERSION := v2.15.0
GOVULNCHECK_VERSION := v1.9.0
MOTO_VERSION := 5.2.1
MINISTACK_VERSION := 1.5.33
CFN_LINT_VERSION := 1.58.0
CHECKOV_VERSION := 3.3.30
BOTO3_VERSION := 1.44.8
CUSTODIAN_VERSION := 0.9.53
PROWLER_VERSION := 5.46.0

BIN := $(CURDIR)/.bin

.PHONY: test vet lint vuln test-moto test-ministack test-crash storm fuzz test-anonymous test-types test-bolt test-emulate node-scripts test-browser demo bench bench-go bench-counts bench-counts-renew lambda lambda-same infra

test:
	go test -race ./...

vet:
	go vet ./...
	go vet -tags moto,ministack,browser,crash,bolt,emulate ./...
	cd internal/versitytest && go vet ./...

$(BIN)/golangci-lint-$(GOLANGCI_VERSION):
	GOBIN=$(BIN) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(BIN)/golangci-lint $@

lint: $(BIN)/golangci-lint-$(GOLANGCI_VERSION)
	$< run ./...

$(BIN)/govulncheck-$(GOVULNCHECK_VERSION):
	GOBIN=$(BIN) go install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)
	mv $(BIN)/govulncheck $@

# Needs the vulnerability database on the network.
vuln: $(BIN)/govulncheck-$(GOVULNCHECK_VERSION)
	$< ./...

$(BIN)/moto-$(MOTO_VERSION)/bin/moto_server:
	rm -rf $(BIN)/moto-$(MOTO_VERSION)
	python3 -m venv $(BIN)/moto-$(MOTO_VERSION)
	$(BIN)/moto-$(MOTO_VERSION)/bin/pip install --quiet 'moto[server]==$(MOTO_VERSION)'

# The contract suites of the playbooks and of the DynamoDB store, and the whole
# line with two workers, against another implementation of AWS.
test-moto: $(BIN)/moto-$(MOTO_VERSION)/bin/moto_server
	SECBOT_MOTO=$< go test -race -tags moto -run Moto -count=1 ./remediation/playbooks ./internal/awsenv .
	SECBOT_MOTO=$< go test -race -tags moto -run Moto -count=1 ./remediation/store/dynamo -rapid.checks=20

$(BIN)/ministack-$(MINISTACK_VERSION)/bin/ministack:
	rm -rf $(BIN)/ministack-$(MINISTACK_VERSION)
	python3 -m venv $(BIN)/ministack-$(MINISTACK_VERSION)
	$(BIN)/ministack-$(MINISTACK_VERSION)/bin/pip install --quiet 'ministack==$(MINISTACK_VERSION)'

# secbot as it is deployed, from an event on the bus to a revoked rule, a message and
# an undo, on an implementation of AWS that runs the functions' zip and enforces IAM.
test-ministack: $(BIN)/ministack-$(MINISTACK_VERSION)/bin/ministack lambda
	SECBOT_MINISTACK=$< SECBOT_ZIP=$(BIN)/lambda/$$(go env GOARCH).zip go test -race -tags ministack -run Ministack -timeout 5m -count=1 .

# secbot killed at every call that it makes and started again, every mishap at
# each of them, and a thousand events at once.
test-crash:
	go test -race -tags crash -run 'Crash|Faults' -parallel 32 -count=1 .

# Ten thousand events as fast as they can be sent; some minutes.
storm:
	SECBOT_STORM=10000 go test -tags crash -run CrashStorm -v -count=1 .

# Every fuzz target that there is, one after the other.
FUZZTIME := 10m
fuzz:
	grep -rE --include='*_test.go' '^func Fuzz' . | sed -E 's#^(.*)/[^/]*_test.go:func (Fuzz[A-Za-z0-9_]+).*#\1 \2#' | sort | \
	while read -r package target; do \
		go test $$package -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) </dev/null || exit 1; \
	done

# Whether strangers get an object before a fix, after it and after its undo, on a
# server that really answers or refuses them. A module of its own.
test-anonymous:
	cd internal/versitytest && go test -race -count=1 ./...

# What Slack publishes for Node and another stand-in for Slack, as
# internal/node/package-lock.json pins them, with the scripts beside them, since
# node looks for packages from where a script is.
$(BIN)/node/installed: internal/node/package.json internal/node/package-lock.json
	rm -rf $(BIN)/node
	mkdir -p $(BIN)/node
	cp internal/node/package.json internal/node/package-lock.json $(BIN)/node
	npm ci --prefix $(BIN)/node --ignore-scripts --engine-strict --no-audit --no-fund
	touch $@

node-scripts: $(BIN)/node/installed
	cp internal/node/*.mjs internal/node/*.ts $(BIN)/node

# The golden messages, modals, homes and manifests against Slack's own type definitions.
test-types: node-scripts
	node $(BIN)/node/types.mjs bot/testdata $(BIN)/node/types

# secbot against what Slack's own library signs, and an app made with that
# library against what the stand-in for Slack signs.
test-bolt: node-scripts
	SECBOT_NODE=$(BIN)/node go test -race -tags bolt -run Bolt -timeout 5m -count=1 .

# The main flows on another implementation of Slack.
test-emulate: node-scripts
	SECBOT_NODE=$(BIN)/node go test -race -tags emulate -run Emulate -timeout 5m -count=1 .

# The demo's page in Chromium, which must be installed. Screenshots are kept.
test-browser:
	SECBOT_SCREENSHOTS=$(BIN)/screenshots go test -race -tags browser -run Page -count=1 .

# A bootstrap is loaded at each cold start, and a tenth of it is inlining in what secbot
# is made with, and functions that begin at multiples of 32 bytes. Its own packages are
# inlined: without it an event allocates a seventh more.
SMALL := -gcflags=all=-l -gcflags=std= -gcflags=secbot/...= -ldflags "-s -w -buildid= -funcalign=16"

# The Lambda bootstraps, the same each time from the same sources.
lambda:
	for arch in arm64 amd64; do \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -trimpath -buildvcs=false -tags lambda.norpc,lambda $(SMALL) \
			-o $(BIN)/lambda/$$arch/bootstrap . || exit 1; \
		go run ./internal/lambdazip $(BIN)/lambda/$$arch/bootstrap $(BIN)/lambda/$$arch.zip || exit 1; \
	done

# The zips once more, from a copy of the sources at another place: the same bytes.
lambda-same: lambda
	rm -rf $(BIN)/again
	mkdir -p $(BIN)/again/.bin
	git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t $(BIN)/again
	$(MAKE) -C $(BIN)/again BIN=$(BIN)/again/.bin lambda
	for arch in arm64 amd64; do cmp $(BIN)/lambda/$$arch.zip $(BIN)/again/.bin/lambda/$$arch.zip || exit 1; done
	rm -rf $(BIN)/again

$(BIN)/infra-$(CFN_LINT_VERSION)-$(CHECKOV_VERSION)/installed:
	rm -rf $(@D)
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet 'cfn-lint==$(CFN_LINT_VERSION)' 'checkov==$(CHECKOV_VERSION)'
	touch $@

# The templates as AWS reads them and as it advises, exceptions with a reason beside
# the resource; then brought up and taken out again on another implementation of AWS.
infra: $(BIN)/infra-$(CFN_LINT_VERSION)-$(CHECKOV_VERSION)/installed $(BIN)/moto-$(MOTO_VERSION)/bin/moto_server
	$(<D)/bin/cfn-lint infra/*.yaml
	LOG_LEVEL=ERROR $(<D)/bin/checkov --directory infra --framework cloudformation --skip-download --compact --quiet
	go test -count=1 ./infra
	SECBOT_MOTO=$(word 2,$^) go test -tags moto -run Infra -count=1 .

demo:
	go run . demo --script

# What docs/performance.md tells, measured anew. POINTS chooses some of it. With
# PROWLER=1 scans are compared with Prowler, too, which takes 2 GB and ten minutes.
POINTS :=
bench: node-scripts $(BIN)/boto3-$(BOTO3_VERSION)/bin/python3 $(BIN)/custodian-$(CUSTODIAN_VERSION)/bin/custodian $(BIN)/moto-$(MOTO_VERSION)/bin/moto_server
	go run ./internal/bench -python $(BIN)/boto3-$(BOTO3_VERSION)/bin/python3 -moto $(BIN)/moto-$(MOTO_VERSION)/bin/moto_server \
		-custodian $(BIN)/custodian-$(CUSTODIAN_VERSION)/bin/custodian $(if $(PROWLER),-prowler $(BIN)/prowler-$(PROWLER_VERSION)/bin/prowler) $(POINTS)

ifdef PROWLER
bench: $(BIN)/prowler-$(PROWLER_VERSION)/bin/prowler
endif

$(BIN)/prowler-$(PROWLER_VERSION)/bin/prowler:
	rm -rf $(BIN)/prowler-$(PROWLER_VERSION)
	python3 -m venv $(BIN)/prowler-$(PROWLER_VERSION)
	$(BIN)/prowler-$(PROWLER_VERSION)/bin/pip install --quiet 'prowler==$(PROWLER_VERSION)'

$(BIN)/custodian-$(CUSTODIAN_VERSION)/bin/custodian:
	rm -rf $(BIN)/custodian-$(CUSTODIAN_VERSION)
	python3 -m venv $(BIN)/custodian-$(CUSTODIAN_VERSION)
	$(BIN)/custodian-$(CUSTODIAN_VERSION)/bin/pip install --quiet 'c7n==$(CUSTODIAN_VERSION)'

$(BIN)/boto3-$(BOTO3_VERSION)/bin/python3:
	rm -rf $(BIN)/boto3-$(BOTO3_VERSION)
	python3 -m venv $(BIN)/boto3-$(BOTO3_VERSION)
	$(BIN)/boto3-$(BOTO3_VERSION)/bin/pip install --quiet 'boto3==$(BOTO3_VERSION)'

# Every Go benchmark by itself.
bench-go:
	go test -run '^$$' -bench . -benchmem ./...

# Fails where a benchmark allocates, or calls AWS, a fifth more often than is
# written down in internal/bench/counts.txt.
bench-counts:
	go run ./internal/bench counts

bench-counts-renew:
	go run ./internal/bench -renew counts
