package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"gantry/internal/client"
)

type apiCmd struct {
	target  `embed:""`
	Method  string   `arg:"" help:"GET, POST, PUT, PATCH or DELETE."`
	Path    string   `arg:"" help:"Path from the root; {org_id} becomes the organization."`
	Data    string   `short:"d" help:"Body; @FILE reads it from a file and @- from standard input." placeholder:"BODY"`
	Field   []string `short:"f" sep:"none" help:"Field of a JSON body, or of the query with GET and DELETE: name=value. A value that is JSON counts as such. May be repeated." placeholder:"NAME=VALUE"`
	Header  []string `short:"H" sep:"none" help:"Header: \"Name: value\". May be repeated." placeholder:"HEADER"`
	Include bool     `short:"i" help:"Print status and headers first."`
}

// Help is shown below the flags.
func (apiCmd) Help() string {
	return `Examples:
  gantry api GET /v3/self
  gantry api GET '/v3/organizations/{org_id}/sessions' -f first=5
  gantry api POST '/v3/organizations/{org_id}/sessions' -f prompt="fix the build" -f tags='["ci"]'
  gantry api GET '/gantry/v1/organizations/{org_id}/sessions/ID/events' -H 'Accept: text/event-stream'`
}

// Run calls the operation and prints the answer's body, an error's included.
func (a *apiCmd) Run(ctx context.Context, io *stdio) error {
	c, err := a.open(io)
	if err != nil {
		return err
	}
	r, err := a.request(ctx, io, c)
	if err != nil {
		return err
	}
	res, err := c.Send(ctx, r)
	if refused, ok := errors.AsType[*client.Error](err); ok {
		if a.Include {
			printHead(io, fmt.Sprintf("%d %s", refused.Status, http.StatusText(refused.Status)), refused.Header)
		}
		if perr := printBody(io, bytes.NewReader(refused.Body)); perr != nil {
			return perr
		}
		return exitCode(exitUsage)
	}
	if err != nil {
		return explain(err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	if a.Include {
		printHead(io, res.Status, res.Header)
	}
	return printBody(io, res.Body)
}

func (a *apiCmd) request(ctx context.Context, io *stdio, c *client.Client) (client.Request, error) {
	r := client.Request{Method: strings.ToUpper(a.Method), Header: http.Header{}}
	u, err := url.Parse("/" + strings.TrimPrefix(a.Path, "/"))
	if err != nil || strings.Contains(a.Path, "://") {
		return r, fmt.Errorf("%q is not a path like /v3/self", a.Path)
	}
	r.Query = u.Query()
	if strings.Contains(u.Path, "{org_id}") {
		org, err := a.organization(ctx, c)
		if err != nil {
			return r, err
		}
		u.Path, u.RawPath = strings.ReplaceAll(u.Path, "{org_id}", org), ""
	}
	r.Path = u.EscapedPath()
	for _, h := range a.Header {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return r, fmt.Errorf("--header %q is not \"Name: value\"", h)
		}
		r.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	r.Accept, r.ContentType = r.Header.Get("Accept"), r.Header.Get("Content-Type")
	if r.Body, err = a.body(io, &r); err != nil {
		return r, err
	}
	r.Create = r.Method == http.MethodPost && r.Body != nil
	return r, nil
}

// body makes the body of --data or of the fields; without a body's method the fields become the query.
func (a *apiCmd) body(s *stdio, r *client.Request) ([]byte, error) {
	if a.Data != "" && len(a.Field) > 0 {
		return nil, errors.New("--data and --field are two ways to say the same: give one")
	}
	if a.Data != "" {
		return readData(s, a.Data)
	}
	inQuery := r.Method == http.MethodGet || r.Method == http.MethodDelete
	fields := map[string]any{}
	for _, f := range a.Field {
		name, value, ok := strings.Cut(f, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--field %q is not name=value", f)
		}
		switch {
		case inQuery:
			r.Query.Add(name, value)
		case json.Valid([]byte(value)):
			fields[name] = json.RawMessage(value)
		default:
			fields[name] = value
		}
	}
	if len(fields) == 0 {
		return nil, nil
	}
	return json.Marshal(fields)
}

func readData(s *stdio, data string) ([]byte, error) {
	name, isFile := strings.CutPrefix(data, "@")
	switch {
	case !isFile:
		return []byte(data), nil
	case name == "-":
		return io.ReadAll(s.in)
	}
	return os.ReadFile(name)
}

func printHead(s *stdio, status string, h http.Header) {
	s.printf("%s\n", clean(status))
	var b strings.Builder
	_ = h.Write(&b) // a builder takes everything
	s.printf("%s\n", clean(strings.ReplaceAll(b.String(), "\r\n", "\n")))
}

// printBody copies the body as it comes; a JSON body is indented for a person.
func printBody(s *stdio, body io.Reader) error {
	if !s.terminal {
		_, err := io.Copy(s.out, body)
		return err
	}
	var c cleaner
	buf := make([]byte, 32<<10)
	first := true
	for {
		n, err := body.Read(buf)
		if first && n > 0 && (buf[0] == '{' || buf[0] == '[') {
			rest, rerr := io.ReadAll(body)
			whole := slices.Concat(buf[:n], rest)
			s.printf("%s\n", orText(pretty(whole), clean(string(whole))))
			return rerr
		}
		first = false
		s.printf("%s", c.text(string(buf[:n])))
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
