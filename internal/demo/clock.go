package demo

import (
	"sync"
	"time"
)

// Clock is the demo's time: the machine's, and what people have let pass besides.
// The zero Clock shows the machine's time.
type Clock struct {
	mu     sync.Mutex
	passed time.Duration
}

// Now is the demo's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.passed)
}

// Pass lets time pass at once. It must not be negative: time does not run back.
func (c *Clock) Pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passed += max(d, 0)
}
