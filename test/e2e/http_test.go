package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// request makes one plain request, as curl would, and shows the answer. It follows no redirect.
func request(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: http METHOD TARGET [-k KEY] [-h 'NAME: VALUE'] [-d BODY] [-n EVENTS]")
	}
	method, target := args[0], args[1]
	if strings.HasPrefix(target, "/") {
		target = ts.Getenv("URL") + target
	}
	header, body, events := http.Header{}, "", 0
	for i := 2; i+1 < len(args); i += 2 {
		switch v := args[i+1]; args[i] {
		case "-k":
			header.Set("Authorization", "Bearer "+v)
		case "-h":
			name, value, _ := strings.Cut(v, ": ")
			header.Set(name, value)
		case "-d":
			body = v
		case "-n":
			_, err := fmt.Sscan(v, &events)
			ts.Check(err)
		default:
			ts.Fatalf("unknown flag %s", args[i])
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	ts.Check(err)
	r.Header = header
	if body != "" && header.Get("Content-Type") == "" {
		header.Set("Content-Type", "application/json")
	}
	c := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := c.Do(r)
	ts.Check(err)
	defer func() { _ = res.Body.Close() }() // it was read
	out := ts.Stdout()
	_, _ = fmt.Fprintf(out, "HTTP %d\n", res.StatusCode)
	for _, name := range slices.Sorted(keys(res.Header)) {
		_, _ = fmt.Fprintf(out, "%s: %s\n", name, strings.Join(res.Header[name], ", "))
	}
	_, _ = fmt.Fprintln(out)
	_, err = io.Copy(out, firstEvents(res.Body, events))
	ts.Check(err)
}

func keys(h http.Header) func(func(string) bool) {
	return func(yield func(string) bool) {
		for name := range h {
			if !yield(name) {
				return
			}
		}
	}
}

// firstEvents cuts a stream after n events; with n 0 it is read to its end.
func firstEvents(body io.Reader, n int) io.Reader {
	if n == 0 {
		return body
	}
	var b strings.Builder
	lines := bufio.NewScanner(body)
	for n > 0 && lines.Scan() {
		b.WriteString(lines.Text() + "\n")
		if lines.Text() == "" {
			n--
		}
	}
	return strings.NewReader(b.String())
}
