// Package kittest helps the tests of doors: keys in memory, requests, and the guards every door has to pass.
package kittest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/platform/fault"
)

// Keys is an Authenticator whose keys a test puts in.
type Keys struct {
	mu   sync.Mutex
	subj map[string]access.Subject
}

// Put makes a key good for a subject.
func (k *Keys) Put(key string, s access.Subject) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.subj == nil {
		k.subj = map[string]access.Subject{}
	}
	k.subj[key] = s
}

// Revoke makes a key unknown.
func (k *Keys) Revoke(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.subj, key)
}

// Authenticate finds the subject of a key.
func (k *Keys) Authenticate(_ context.Context, bearer string, _ netip.Addr) (access.Subject, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.subj[bearer]
	if !ok {
		return access.Subject{}, fault.New(fault.Unauthenticated, "the key is not good")
	}
	return s, nil
}

// Guard fails unless router, document and declarations of an API name the same operations.
func Guard(t testing.TB, a *kit.API) {
	t.Helper()
	require.NoError(t, a.Guard())
	require.NotEmpty(t, a.Declarations())
}

// Answer is what a request got.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// JSON reads the body as a JSON object.
func (a Answer) JSON(t testing.TB) map[string]any {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.Body), &m), "body: %s", a.Body)
	return m
}

// Do sends one request to a handler. An empty key sends none; header holds names and values in turn.
func Do(t testing.TB, h http.Handler, method, target, key, body string, header ...string) Answer {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return Answer{Status: w.Code, Header: w.Header(), Body: w.Body.String()}
}
