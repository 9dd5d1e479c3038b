package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gantry/internal/platform/clock"
)

// load is a closed loop: so many connections, kept alive, each sending the next request when the last is answered, until the time or
// the requests are used up. The requests are bytes that are sent as they are, so the generator costs little.
type load struct {
	Addr     string
	Requests []string // each connection takes them in turn
	Conns    int
	Time     time.Duration // 0: as long as it takes
	Count    int64         // 0: as many as the time allows
}

// loaded is what a load did.
type loaded struct {
	Done    int64
	Elapsed time.Duration
	Error   string
}

// perSecond is the figure of most loads.
func (l loaded) perSecond() float64 { return float64(l.Done) / l.Elapsed.Seconds() }

func request(method, path, key, body string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: bench\r\nAccept: application/json\r\n", method, path)
	if key != "" {
		b.WriteString("Authorization: Bearer " + key + "\r\n")
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	return b.String() + "\r\n" + body
}

// loadMain is the load generator's process.
func loadMain(ctx context.Context) error {
	var l load
	if err := task(&l); err != nil {
		return err
	}
	return answer(l.run(ctx))
}

func (l load) run(ctx context.Context) loaded {
	var c clock.Clock
	if l.Time > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.Time)
		defer cancel()
	}
	var wg sync.WaitGroup
	var sent, done atomic.Int64
	errs := make([]error, l.Conns)
	begun := c.Now()
	for i := range l.Conns {
		wg.Go(func() { errs[i] = l.connection(ctx, i, &sent, &done) })
	}
	wg.Wait()
	out := loaded{Done: done.Load(), Elapsed: c.Since(begun)}
	if err := errors.Join(errs...); err != nil {
		out.Error = err.Error()
	}
	return out
}

// conn is one connection, kept alive.
type conn struct {
	tcp   net.Conn
	r     *bufio.Reader
	clock clock.Clock
}

func dial(ctx context.Context, addr string) (*conn, error) {
	tcp, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{tcp: tcp, r: bufio.NewReaderSize(tcp, 64<<10)}, nil
}

func (c *conn) close() { _ = c.tcp.Close() } // nothing is in flight

// ask sends a request, reads its answer to the end, and gives the milliseconds that took. Another status than 200 is an error.
func (c *conn) ask(request string) (float64, error) {
	begun := c.clock.Now()
	if _, err := io.WriteString(c.tcp, request); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0, err
	}
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 500)) // it only explains
		_ = res.Body.Close()
		return 0, fmt.Errorf("status %d: %s", res.StatusCode, text)
	}
	_, err = io.Copy(io.Discard, res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return 0, err
	}
	return float64(c.clock.Since(begun).Nanoseconds()) / 1e6, nil
}

// connection sends on one connection until ctx ends, which is looked at between requests only.
func (l load) connection(ctx context.Context, n int, sent, done *atomic.Int64) error {
	c, err := dial(context.WithoutCancel(ctx), l.Addr)
	if err != nil {
		return err
	}
	defer c.close()
	for i := n; ctx.Err() == nil && (l.Count == 0 || sent.Add(1) <= l.Count); i++ {
		if _, err := c.ask(l.Requests[i%len(l.Requests)]); err != nil {
			return err
		}
		done.Add(1)
	}
	return nil
}

// readers opens many event streams and holds them.
type readers struct {
	Addr    string
	Request string
	Count   int
}

// readersMain says "open" once every stream has brought an event, and holds them until its standard input ends.
func readersMain(ctx context.Context) error {
	var t readers
	if err := task(&t); err != nil {
		return err
	}
	first := make(chan error, t.Count)
	for range t.Count {
		go func() { first <- t.read(first) }()
	}
	for range t.Count {
		if err := <-first; err != nil {
			return err
		}
	}
	if err := answer("open"); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// read tells of the first event and reads on until the connection ends.
func (t readers) read(first chan<- error) error {
	conn, err := net.Dial("tcp", t.Addr)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(conn, t.Request); err != nil {
		return err
	}
	r := bufio.NewReaderSize(conn, 2<<10)
	for told := false; ; {
		line, err := r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("a stream ended: %w", err)
		}
		if strings.HasPrefix(string(line), "HTTP/1.1 ") && !strings.Contains(string(line), " 200 ") {
			return fmt.Errorf("a stream was refused: %s", line)
		}
		if !told && strings.HasPrefix(string(line), "data:") {
			told = true
			first <- nil
		}
	}
}

// drive loads a server and gives requests per second. An answer that isn't 200 is an error: a fast refusal is no figure.
func (b *bench) drive(ctx context.Context, l load) (loaded, error) {
	var out loaded
	if err := b.ask(ctx, "load", l, &out); err != nil {
		return out, err
	}
	if out.Error != "" {
		return out, errors.New(out.Error)
	}
	return out, nil
}
