package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

// watch tells how a stack changes, from when it was made.
type watch struct {
	s      *Stack
	id     string          // the stack's, by which it is known also when it is gone
	seen   map[string]bool // the events that were there or were told
	began  bool            // something has happened
	faults []string        // what could not be done, and why
}

func (s *Stack) watch(ctx context.Context, id string) (*watch, error) {
	w := &watch{s: s, id: id, seen: map[string]bool{}}
	_, err := w.news(ctx)
	return w, err
}

// maxLate is at how many looks nothing need have begun yet: what was asked of
// CloudFormation may show a moment later.
const maxLate = 20

// until tells what happens until the stack is at rest, and gives it. ErrNoStack: it
// has gone.
func (w *watch) until(ctx context.Context) (*types.Stack, error) {
	for look := 0; ; look++ {
		// The stack before its events: what it says at the end has then been told.
		stack, stackErr := w.s.describe(ctx, w.id)
		news, err := w.news(ctx)
		if errors.Is(stackErr, ErrNoStack) {
			return nil, stackErr
		}
		if err := errors.Join(stackErr, err); err != nil {
			return nil, err
		}
		for _, e := range news {
			w.tell(e)
		}
		if !strings.HasSuffix(string(stack.StackStatus), "_IN_PROGRESS") && (w.began || look >= maxLate) {
			return stack, nil
		}
		w.began = w.began || len(news) > 0 // the status may be from before these
		if err := w.s.Sleep(ctx, lookEvery); err != nil {
			return nil, fmt.Errorf("the stack goes on changing (%s), look at it in the console: %w", stack.StackStatus, err)
		}
	}
}

// news gives the events that were not seen yet, the oldest first.
func (w *watch) news(ctx context.Context) ([]types.StackEvent, error) {
	var news []types.StackEvent
	pages := cloudformation.NewDescribeStackEventsPaginator(w.s.Client, &cloudformation.DescribeStackEventsInput{StackName: &w.id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if noStack(err) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read how far the stack is (cloudformation:DescribeStackEvents): %w", err)
		}
		before := len(news)
		for _, e := range page.StackEvents {
			if id := aws.ToString(e.EventId); !w.seen[id] {
				w.seen[id] = true
				news = append(news, e)
			}
		}
		if len(news) == before { // they come with the newest first
			break
		}
	}
	slices.Reverse(news)
	return news, nil
}

func (w *watch) tell(e types.StackEvent) {
	reason := aws.ToString(e.ResourceStatusReason)
	line := fmt.Sprintf("  %s  %-28s %s", aws.ToTime(e.Timestamp).Format("15:04:05"), e.ResourceStatus, aws.ToString(e.LogicalResourceId))
	if strings.HasSuffix(string(e.ResourceStatus), "_FAILED") {
		line += ": " + reason
		// Whatever else was under way is cancelled, which explains nothing.
		if !strings.Contains(reason, "cancelled") {
			w.faults = append(w.faults, aws.ToString(e.LogicalResourceId)+": "+reason)
		}
	}
	fmt.Fprintln(w.s.Out, line)
}

// failure says why the stack is not what it should be.
func (w *watch) failure(status types.StackStatus) error {
	why := "its events in the console tell why"
	if len(w.faults) > 0 {
		why = strings.Join(w.faults, "; ")
	}
	return fmt.Errorf("the stack %s ended as %s: %s", w.s.Name, status, why)
}
