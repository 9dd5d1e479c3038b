// Package blob keeps what is too large for a row: attachments, long outputs and raw agent frames. It is a directory or a bucket.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"

	"gantry/internal/platform/fault"
	"gantry/internal/platform/pattern"
)

// Store is an open store. Keys are made by our own code: letters, digits, "-", "_", "." and "/".
type Store struct {
	place place
	name  string // its URL without credentials, for errors
}

// place is where blobs lie: dir or bucket. Its errors are its own; missing knows those that say that there is no such blob.
type place interface {
	put(ctx context.Context, key string, r io.Reader, contentType string) error
	get(ctx context.Context, key string) (io.ReadCloser, error)
	delete(ctx context.Context, key string) error
	deleteBelow(ctx context.Context, prefix string) error
	check(ctx context.Context) error
	missing(err error) bool
}

// Open opens the store that a URL names. "" is the directory blobs below dataDir, file:///path another directory, s3://BUCKET a
// bucket (openBucket says which parameters it takes).
func Open(ctx context.Context, rawURL, dataDir string) (*Store, error) {
	if rawURL == "" {
		rawURL = (&url.URL{Scheme: "file", Path: filepath.Join(dataDir, "blobs")}).String()
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("blobs: %q is not a URL; give file:///path or s3://BUCKET", rawURL)
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" || !filepath.IsAbs(u.Path) {
			return nil, fmt.Errorf("blobs: %q names no absolute path; write it with three slashes, file:///path/blobs", u)
		}
		d, err := openDir(u.Path)
		if err != nil {
			return nil, fmt.Errorf("blobs: %s can't be used: %w; name a directory that this user may write", u.Path, err)
		}
		return &Store{place: d, name: u.String()}, nil
	case "s3":
		b, err := openBucket(ctx, u)
		if err != nil {
			return nil, fmt.Errorf("blobs: %s can't be opened: %w", u.Redacted(), err)
		}
		return &Store{place: b, name: u.Redacted()}, nil
	}
	return nil, fmt.Errorf("blobs: the scheme of %q is not known; give file:///path or s3://BUCKET", u.Redacted())
}

// Close is for whoever opened the store: nothing is held open between calls.
func (s *Store) Close() error { return nil }

var goodKey = pattern.Of(`^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$`)

func checkKey(key string) error {
	if len(key) > 512 || !goodKey().MatchString(key) {
		return fmt.Errorf("blob: %q can't be a key", key)
	}
	return nil
}

// Put streams r to key. The blob appears whole and durable, or not at all: when r ends with an
// error, nothing is kept. An existing blob is replaced.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, contentType string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	src := &source{r: r}
	err := s.place.put(ctx, key, src, contentType)
	if src.err != nil {
		err = src.err
	}
	if errors.As(err, new(*fault.Error)) {
		return err // the source's own fault; what the store says is a store's error
	}
	return s.edge(err)
}

// source remembers how its reader failed, whatever a store makes of that.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// Get opens a blob. A missing one is fault.NotFound.
func (s *Store) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	r, err := s.place.get(ctx, key)
	if err != nil {
		return nil, s.edge(err)
	}
	return r, nil
}

// Delete takes a blob away. A missing one is no error.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	err := s.place.delete(ctx, key)
	if s.place.missing(err) {
		return nil
	}
	return s.edge(err)
}

// DeleteBelow takes every blob away whose key begins with prefix and a slash, also what no row knows of: an upload whose server died.
// Broken off, it has done a part; done again, it does the rest.
func (s *Store) DeleteBelow(ctx context.Context, prefix string) error {
	if err := checkKey(prefix); err != nil {
		return err
	}
	err := s.place.deleteBelow(ctx, prefix)
	if s.place.missing(err) {
		return nil
	}
	return s.edge(err)
}

// Check asks the store for an answer, for doctor and readiness.
func (s *Store) Check(ctx context.Context) error {
	if err := s.place.check(ctx); err != nil {
		return fmt.Errorf("blobs: %s doesn't answer: %w", s.name, err)
	}
	return nil
}

// edge turns a place's errors into faults: above, nobody knows which store it is.
func (s *Store) edge(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if s.place.missing(err) {
		return fault.Wrap(err, fault.NotFound, "the file is not there")
	}
	return fault.Away(err, "the file store")
}
