package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"secbot/remediation/store/dynamo"
)

// posted is how many events are sent, in as many parts as are compared.
const (
	posted = 3000
	parts  = 3
)

// measureThroughput is how many events POST /events stores and acknowledges in a
// second, and whether that stays so as they grow more. secbot works at them
// meanwhile.
func measureThroughput(ctx context.Context, b *bench) error {
	b.report.columns("store", "events a second", "the last third ÷ the first")
	l, err := newLab(ctx)
	if err != nil {
		return err
	}
	drained := make(chan struct{})
	go func() { // nobody waits for what mitigates here
		defer close(drained)
		for range l.mitigated {
			continue
		}
	}()
	err = errors.Join(b.throughput(ctx, l, "bolt on disk", "bolt://secbot.db", posted), b.throughputOnMoto(ctx, l))
	err = errors.Join(err, l.close())
	close(l.mitigated)
	<-drained
	return err
}

// throughputOnMoto has a tenth as many: moto is one process in Python, and its time
// is what is measured.
func (b *bench) throughputOnMoto(ctx context.Context, l *lab) error {
	addr, err := freeAddr(ctx)
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	moto, err := b.start(ctx, nil, b.moto, "-H", host, "-p", port)
	if err != nil {
		return err
	}
	defer moto.stop()
	url := "http://" + addr
	if err := moto.answers(ctx, url); err != nil {
		return err
	}
	cfg := l.table.Config()
	cfg.BaseEndpoint = aws.String(url)
	if err := dynamo.New(cfg, dynamo.Options{Table: "secbot"}).CreateTable(ctx); err != nil {
		return err
	}
	return b.throughput(ctx, l, "DynamoDB on moto", "dynamodb://secbot", posted/10, "AWS_ENDPOINT_URL_DYNAMODB="+url)
}

func (b *bench) throughput(ctx context.Context, l *lab, name, store string, n int, env ...string) error {
	program, err := b.build(ctx, allCommands)
	if err != nil {
		return err
	}
	event, err := l.open(ctx)
	if err != nil {
		return err
	}
	addr, err := freeAddr(ctx)
	if err != nil {
		return err
	}
	env = append(append(l.env(), "SECBOT_STORE="+store, "SECBOT_ADDR="+addr, "SECBOT_EVENTS_TOKEN=bearer", "SECBOT_LOG_LEVEL=error"), env...)
	p, err := b.start(ctx, env, program, "serve")
	if err != nil {
		return err
	}
	defer p.stop()
	if err := p.answers(ctx, "http://"+addr+"/healthz"); err != nil {
		return err
	}
	var took []time.Duration
	for part := range parts {
		began := time.Now()
		err := parallel(n/parts, func(i int) error { return post(ctx, "http://"+addr, event, part*n/parts+i) })
		if err != nil {
			return err
		}
		took = append(took, time.Since(began))
	}
	total := took[0] + took[1] + took[2]
	b.report.row(name, fmt.Sprintf("%.0f", float64(n)/total.Seconds()), fmt.Sprintf("%.2f", ratio(took[0], took[parts-1])))
	return nil
}

// attempts is how often an event is sent that is refused for now, as EventBridge
// does too.
const attempts = 20

// post sends the event under an id of its own.
func post(ctx context.Context, url string, event []byte, i int) error {
	var e struct {
		Detail struct{ EventID string }
	}
	if err := json.Unmarshal(event, &e); err != nil {
		return fmt.Errorf("read the event: %w", err)
	}
	body := bytes.ReplaceAll(event, []byte(e.Detail.EventID), fmt.Appendf(nil, "00000000-0000-4000-8000-%012d", i))
	var err error
	for range attempts {
		if err = postOnce(ctx, url, body); !errors.Is(err, errAgain) {
			return err
		}
	}
	return err
}

// errAgain says that secbot could not store an event and wants it again.
var errAgain = errors.New("the event could not be stored")

func postOnce(ctx context.Context, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/events", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer bearer")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("send an event: %w", err)
	}
	answer, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusServiceUnavailable:
		return fmt.Errorf("%w: %s", errAgain, answer)
	}
	return fmt.Errorf("secbot answers %s: %s", resp.Status, answer)
}
