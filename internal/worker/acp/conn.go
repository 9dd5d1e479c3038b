package acp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"unicode/utf8"
)

// Limits bound what the other side may send; a zero field means its default.
type Limits struct {
	Frame    int // bytes of one line; default 64 MiB; more ends the connection
	Junk     int // lines in a row that are no JSON-RPC message; default 1000; more ends the connection
	Requests int // requests of the other side in work at once; default 256; more ends the connection
}

func (l Limits) withDefaults() Limits {
	if l.Frame <= 0 {
		l.Frame = 64 << 20
	}
	if l.Junk <= 0 {
		l.Junk = 1000
	}
	if l.Requests <= 0 {
		l.Requests = 256
	}
	return l
}

// Problem is something wrong that the other side sent and that was skipped: a line that is no message, an answer nobody
// waits for, an update for a session that isn't open. Text is safe to log after masking; it holds at most 200 bytes of the
// line. Count says how many there have been on this connection: the first 20 are reported, then each power of two.
type Problem struct {
	Text  string
	Count int
}

// ErrClosed is the reason of a connection whose other side closed its output, or that was closed from here.
var ErrClosed = errors.New("acp: connection closed")

// LimitError ends a connection on which the other side sent more than its Limits allow.
type LimitError struct{ Text string }

// Error says which limit was passed.
func (e *LimitError) Error() string { return "acp: " + e.Text }

// frame is any JSON-RPC message. ID is kept raw because it may be a number or a string.
type frame struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *Error          `json:"error,omitempty"`
}

// work answers one request of the other side; it runs in a goroutine of its own.
type work func(ctx context.Context) (any, error)

// conn is one JSON-RPC connection, the same for both sides.
//
// One goroutine reads. A notification is handled there before the next line is read, so a slow handler slows the sender down,
// and a response reaches its caller only after every notification before it was handled. accept and notify run in that
// goroutine; what accept returns runs in another.
type conn struct {
	limits  Limits
	accept  func(method string, params json.RawMessage) (work, error)
	notify  func(method string, params json.RawMessage)
	problem func(Problem)

	ctx    context.Context // ends with the connection
	cancel context.CancelFunc
	out    chan []byte
	done   chan struct{}
	wg     sync.WaitGroup // requests of the other side in work
	slots  chan struct{}

	mu      sync.Mutex
	next    int64
	pending map[string]*pendingCall
	err     error

	problems int // of the reading goroutine
}

type pendingCall struct {
	settle func(json.RawMessage, error) // runs in the reading goroutine, before the next line is read
	answer chan callAnswer
}

type callAnswer struct {
	result json.RawMessage
	err    error
}

func newConn(ctx context.Context, limits Limits) *conn {
	c := &conn{
		limits: limits.withDefaults(), out: make(chan []byte, 16), done: make(chan struct{}),
		pending: map[string]*pendingCall{}, problem: func(Problem) {},
	}
	c.slots = make(chan struct{}, c.limits.Requests)
	c.ctx, c.cancel = context.WithCancel(ctx)
	return c
}

// run reads until the end and returns why it ended. It doesn't wait for requests in work.
func (c *conn) run(r io.Reader, w io.Writer) error {
	go c.write(w)
	err := c.read(r)
	c.fail(err)
	return c.reason()
}

// fail ends the connection; the first reason stays.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	pending := c.pending
	c.pending = nil
	c.mu.Unlock()
	for _, p := range pending {
		p.settle(nil, err)
		p.answer <- callAnswer{err: err}
	}
	close(c.done) // first, so that whoever is woken by the context finds that nothing can be sent any more
	c.cancel()
}

func (c *conn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *conn) write(w io.Writer) {
	for {
		select {
		case b := <-c.out:
			if _, err := w.Write(b); err != nil {
				c.fail(fmt.Errorf("%w: write: %w", ErrClosed, err))
				return
			}
		case <-c.done:
			return
		}
	}
}

// send queues a frame; it blocks while the other side doesn't read.
func (c *conn) send(ctx context.Context, f frame) error {
	f.JSONRPC = "2.0"
	b, err := encode(f)
	if err != nil {
		return err
	}
	select {
	case <-c.done:
		return c.reason()
	default:
	}
	select {
	case c.out <- b:
		return nil
	case <-c.done:
		return c.reason()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// encode writes v as one line without HTML escapes.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("acp: encode: %w", err)
	}
	return buf.Bytes(), nil
}

func encodeParams(v any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	b, err := encode(v)
	return bytes.TrimSuffix(b, []byte("\n")), err
}

// call sends a request and waits for its answer. settle, if not nil, sees the answer first, in the reading goroutine.
func (c *conn) call(ctx context.Context, method string, params any, settle func(json.RawMessage, error)) (json.RawMessage, error) {
	raw, err := encodeParams(params)
	if err != nil {
		return nil, err
	}
	if settle == nil {
		settle = func(json.RawMessage, error) {}
	}
	p := &pendingCall{settle: settle, answer: make(chan callAnswer, 1)}
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return nil, c.err
	}
	c.next++
	id := strconv.FormatInt(c.next, 10)
	c.pending[id] = p
	c.mu.Unlock()

	if err := c.send(ctx, frame{ID: json.RawMessage(id), Method: method, Params: raw}); err != nil {
		c.take(id)
		return nil, err
	}
	select {
	case a := <-p.answer:
		return a.result, a.err
	case <-ctx.Done():
		c.take(id)
		return nil, ctx.Err()
	}
}

func (c *conn) take(id string) *pendingCall {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pending[id]
	delete(c.pending, id)
	return p
}

// tell sends a notification.
func (c *conn) tell(ctx context.Context, method string, params any) error {
	raw, err := encodeParams(params)
	if err != nil {
		return err
	}
	return c.send(ctx, frame{Method: method, Params: raw})
}

func (c *conn) read(r io.Reader) error {
	br := bufio.NewReaderSize(r, 64<<10)
	junk := 0
	for {
		line, err := readLine(br, c.limits.Frame)
		if len(line) > 0 && (err == nil || errors.Is(err, io.EOF)) {
			switch bad := c.handle(line); {
			case bad == nil:
				junk = 0
			case errors.As(bad, new(*LimitError)):
				return bad
			default:
				junk++
				c.report(bad.Error(), line)
			}
			if junk > c.limits.Junk {
				return &LimitError{fmt.Sprintf("more than %d lines in a row that are no JSON-RPC message", c.limits.Junk)}
			}
		}
		if c.ctx.Err() != nil {
			return ErrClosed
		}
		if errors.As(err, new(*LimitError)) {
			return err
		}
		if errors.Is(err, io.EOF) {
			return ErrClosed
		}
		if err != nil {
			return fmt.Errorf("%w: read: %w", ErrClosed, err)
		}
	}
}

// readLine reads one line without its surrounding space. It never holds more than limit bytes.
func readLine(br *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := br.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return nil, &LimitError{fmt.Sprintf("a line of more than %d bytes", limit)}
		}
		if err == nil && line == nil {
			return bytes.TrimSpace(part), nil // valid until the next read, which comes after it is handled
		}
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		return bytes.TrimSpace(line), err
	}
}

// handle deals with one line. An error means that the line was no message; a LimitError ends the connection.
func (c *conn) handle(line []byte) error {
	if line[0] != '{' {
		return errors.New("a line that is no JSON object")
	}
	if !utf8.Valid(line) {
		// What an agent says ends in a database that refuses broken UTF-8.
		line = bytes.ToValidUTF8(line, []byte("\uFFFD"))
	}
	var f frame
	if err := json.Unmarshal(line, &f); err != nil {
		return errors.New("a line that is no JSON-RPC message")
	}
	hasID := len(f.ID) > 0 && !bytes.Equal(f.ID, []byte("null"))
	switch {
	case f.Method != "" && hasID:
		if f.ID[0] != '"' && f.ID[0] != '-' && (f.ID[0] < '0' || f.ID[0] > '9') {
			return errors.New("a request whose id is neither a number nor a string")
		}
		return c.request(f)
	case f.Method != "":
		c.notify(f.Method, f.Params)
	case hasID:
		return c.answer(f, line)
	default:
		return errors.New("a message without method and id")
	}
	return nil
}

func (c *conn) answer(f frame, line []byte) error {
	p := c.take(string(f.ID))
	if p == nil {
		c.report("an answer to no open request", line)
		return nil
	}
	a := callAnswer{result: f.Result}
	if f.Error != nil {
		a = callAnswer{err: f.Error}
	}
	p.settle(a.result, a.err)
	p.answer <- a
	return nil
}

func (c *conn) request(f frame) error {
	select {
	case c.slots <- struct{}{}:
	default:
		return &LimitError{fmt.Sprintf("more than %d requests at once", c.limits.Requests)}
	}
	do, err := c.accept(f.Method, f.Params)
	c.wg.Go(func() {
		defer func() { <-c.slots }()
		var result any
		if err == nil {
			result, err = do(c.ctx)
		}
		// Once the connection has ended nobody waits for the answer, so the error of sending it says nothing new.
		_ = c.send(c.ctx, reply(f.ID, result, err))
	})
	return nil
}

func reply(id json.RawMessage, result any, err error) frame {
	if err == nil {
		var raw json.RawMessage
		if raw, err = encodeParams(result); err == nil {
			if raw == nil {
				raw = json.RawMessage("{}")
			}
			return frame{ID: id, Result: raw}
		}
	}
	e, ok := errors.AsType[*Error](err)
	switch {
	case ok:
	case errors.Is(err, context.Canceled):
		e = &Error{Code: CodeCancelled, Message: "request cancelled"}
	default:
		e = &Error{Code: CodeInternal, Message: "internal error"}
	}
	return frame{ID: id, Error: e}
}

// report tells of a problem, thinning out a flood. It belongs to the reading goroutine.
func (c *conn) report(text string, line []byte) {
	c.problems++
	if n := c.problems; n > 20 && n&(n-1) != 0 {
		return
	}
	if len(line) > 200 {
		line = line[:200]
	}
	c.problem(Problem{Text: fmt.Sprintf("%s: %q", text, line), Count: c.problems})
}

// decodeParams reads a request's or notification's params into T.
func decodeParams[T any](params json.RawMessage) (T, error) {
	var v T
	if len(params) == 0 {
		return v, Errorf(CodeInvalidParams, "params are missing")
	}
	if err := json.Unmarshal(params, &v); err != nil {
		return v, Errorf(CodeInvalidParams, "params are not of the method's shape")
	}
	return v, nil
}
