package main

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// lines collects what a process prints; a test can wait for a text.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
	news chan struct{}
}

func newLines() *lines { return &lines{news: make(chan struct{}, 1)} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.news <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// wait waits until the process has printed want.
func (l *lines) wait(t testing.TB, p *process, want string) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for !strings.Contains(l.String(), want) {
		select {
		case <-l.news:
		case <-p.done:
			if !strings.Contains(l.String(), want) {
				t.Fatalf("the command ended (%v) without saying %q; it said %s%s", p.cmd.ProcessState, want, p.out, p.err)
			}
			return
		case <-limit:
			t.Fatalf("the command does not say %q; it said %s%s", want, p.out, p.err)
		}
	}
}
