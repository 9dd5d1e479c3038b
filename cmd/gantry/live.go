package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"gantry/internal/client"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/human"
	"gantry/internal/wire"
)

// live is a writer that keeps one moving line below what is written: what the session is at, for how long and for how much. It is
// a plain writer when nobody looks at a terminal.
type live struct {
	out    io.Writer
	width  int // 0: no line
	clock  clock.Clock
	begun  time.Time
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	at     string
	acus   float64
	shown  bool
	column int // of what was written last: the line is drawn only below whole lines
	frame  int
	broken error // of the first write that failed
}

const (
	frameEvery = 120 * time.Millisecond
	acusEvery  = 5 * time.Second
)

var frames = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

func startLive(ctx context.Context, s *stdio, w *watch) *live {
	l := &live{out: s.out, at: "queued"}
	l.begun = l.clock.Now()
	ctx, l.cancel = context.WithCancel(ctx)
	if !s.terminal {
		return l
	}
	l.width = columns(s.out)
	if l.width == 0 {
		return l
	}
	l.done.Go(func() {
		for n := 0; clock.Sleep(ctx, frameEvery); n++ {
			l.draw()
			if n%int(acusEvery/frameEvery) == 0 {
				// A figure that can't be had is left as it was; the events tell what matters.
				if got, err := w.c.GetSession(ctx, w.org, w.session); err == nil {
					l.spent(got.ACUsConsumed)
				}
			}
		}
	})
	return l
}

func (l *live) spent(acus float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acus = acus
}

// heard takes what the line says from the events.
func (l *live) heard(e client.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e.Type {
	case "status":
		var d statusData
		if json.Unmarshal(e.Data, &d) == nil {
			l.at = statusText(d.Status, d.Detail)
		}
	case wire.EventTool:
		var d wire.ToolData
		if json.Unmarshal(e.Data, &d) == nil && d.Title != "" {
			l.at = "running " + clean(d.Title)
		}
	}
}

// Write takes the line away, writes, and leaves the line to the next frame.
func (l *live) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
	if len(p) > 0 {
		l.column = 1
		if p[len(p)-1] == '\n' {
			l.column = 0
		}
	}
	n, err := l.out.Write(p)
	if l.broken == nil {
		l.broken = err
	}
	return n, err
}

func (l *live) erase() {
	if l.shown {
		_, _ = io.WriteString(l.out, "\r\x1b[K") // the next write meets the same error
		l.shown = false
	}
}

func (l *live) draw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.column != 0 {
		return
	}
	l.frame++
	// What it is at comes last: it may be cut.
	text := fmt.Sprintf("%c %s · %s ACU · %s", frames[l.frame%len(frames)], human.Span(l.clock.Since(l.begun).Truncate(time.Second)), acus(l.acus), l.at)
	_, _ = io.WriteString(l.out, "\r\x1b[K"+shorten(text, l.width-1)) // a lost frame is no loss
	l.shown = true
}

// stop takes the line away for good.
func (l *live) stop() {
	l.cancel()
	l.done.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
}
