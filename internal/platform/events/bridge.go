package events

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/id"
)

const (
	channel = "gantry"
	// gather is how long notices are collected before one statement sends them: NOTIFY serialises commits, so one statement a
	// notice would hold all writers up.
	gather = 20 * time.Millisecond
	// maxIDs is how many ids of one topic are told apart within one statement; beyond, the whole topic is woken.
	maxIDs = 500
	// maxPayload is PostgreSQL's limit of 8000 bytes with room to spare.
	maxPayload = 7500
	minBackoff = 250 * time.Millisecond
	maxBackoff = 15 * time.Second
)

// Bridge carries a hub's notices to the other replicas by PostgreSQL's LISTEN and NOTIFY, and theirs to the hub.
type Bridge struct {
	hub    *Hub
	url    string
	log    *slog.Logger
	origin string

	mu      sync.Mutex
	pending map[string]map[string]struct{}
	kick    chan struct{}
}

// NewBridge makes a bridge over the database at a postgres:// URL. It works while Run does.
func NewBridge(h *Hub, url string, log *slog.Logger) *Bridge {
	return &Bridge{
		hub: h, url: url, log: log, origin: id.UUID(),
		pending: map[string]map[string]struct{}{}, kick: make(chan struct{}, 1),
	}
}

// Run carries notices until ctx ends. Lost connections come back by themselves; meanwhile readers look for themselves.
func (b *Bridge) Run(ctx context.Context) error {
	b.hub.mu.Lock()
	b.hub.forward = b.add
	b.hub.mu.Unlock()
	defer func() {
		b.hub.mu.Lock()
		b.hub.forward = nil
		b.hub.mu.Unlock()
	}()
	var wg sync.WaitGroup
	wg.Go(func() { b.keep(ctx, "listen", b.listen) })
	wg.Go(func() { b.keep(ctx, "notify", b.send) })
	wg.Wait()
	return nil
}

// keep runs work on a connection of its own, again and again with growing pauses.
func (b *Bridge) keep(ctx context.Context, what string, work func(context.Context, *pgx.Conn) error) {
	backoff := minBackoff
	for ctx.Err() == nil {
		err := b.connected(ctx, func(c *pgx.Conn) error {
			backoff = minBackoff
			return work(ctx, c)
		})
		if ctx.Err() != nil {
			return
		}
		b.log.WarnContext(ctx, "event bridge lost its connection", "part", what, "error", err, "retry_in_ms", backoff.Milliseconds())
		clock.Sleep(ctx, backoff)
		backoff = min(2*backoff, maxBackoff)
	}
}

func (b *Bridge) connected(ctx context.Context, work func(*pgx.Conn) error) error {
	c, err := pgx.Connect(ctx, b.url)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }() // the connection is given up either way
	return work(c)
}

func (b *Bridge) listen(ctx context.Context, c *pgx.Conn) error {
	if _, err := c.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	b.hub.deliverAll()
	for {
		n, err := c.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		b.receive(n.Payload)
	}
}

// receive takes a payload: the sender on the first line, then "topic id" a line. Unknown forms are passed over.
func (b *Bridge) receive(payload string) {
	origin, rest, _ := strings.Cut(payload, "\n")
	if origin == b.origin {
		return
	}
	for line := range strings.Lines(rest) {
		topicName, key, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		b.hub.deliver(topicName, key)
	}
}

// add keeps a notice for the next statement.
func (b *Bridge) add(topicName, key string) {
	b.mu.Lock()
	ids := b.pending[topicName]
	switch {
	case ids == nil:
		b.pending[topicName] = map[string]struct{}{key: {}}
	case len(ids) < maxIDs:
		ids[key] = struct{}{}
	default:
		b.pending[topicName] = map[string]struct{}{"": {}}
	}
	b.mu.Unlock()
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

func (b *Bridge) send(ctx context.Context, c *pgx.Conn) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.kick:
		}
		if !clock.Sleep(ctx, gather) {
			return ctx.Err()
		}
		payloads := b.take()
		if len(payloads) == 0 {
			continue
		}
		if _, err := c.Exec(ctx, "SELECT pg_notify($1, p) FROM unnest($2::text[]) AS p", channel, payloads); err != nil {
			return fmt.Errorf("notify: %w", err)
		}
	}
}

// take gives what is pending as payloads below PostgreSQL's limit.
func (b *Bridge) take() []string {
	b.mu.Lock()
	pending := b.pending
	b.pending = map[string]map[string]struct{}{}
	b.mu.Unlock()
	var out []string
	var p strings.Builder
	flush := func() {
		if p.Len() > 0 {
			out = append(out, b.origin+"\n"+p.String())
			p.Reset()
		}
	}
	for topicName, ids := range pending {
		if _, all := ids[""]; all {
			ids = map[string]struct{}{"": {}}
		}
		for key := range ids {
			line := topicName + " " + key + "\n"
			if len(b.origin)+1+p.Len()+len(line) > maxPayload {
				flush()
			}
			p.WriteString(line)
		}
	}
	flush()
	return out
}
