// Package blob keeps what is too large for a row: attachments, long outputs and raw agent frames. It is a directory or a bucket.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"gantry/internal/platform/fault"
)

// Store is an open store. Keys are made by our own code: letters, digits, "-", "_", "." and "/".
type Store struct {
	bucket *blob.Bucket
	dir    string // of a local store, else empty
	name   string
}

// Open opens the store that a URL names. "" is the directory blobs below dataDir, file:///path another directory, s3://BUCKET a
// bucket (gocloud.dev/blob/s3blob says which parameters it takes).
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
		return openDir(u)
	case s3blob.Scheme:
		// The SDK's configuration is read here and nowhere else, so a local store never waits for it.
		b, err := new(s3blob.URLOpener).OpenBucketURL(ctx, u)
		if err != nil {
			return nil, fmt.Errorf("blobs: %s can't be opened: %w", u.Redacted(), err)
		}
		return &Store{bucket: b, name: u.Redacted()}, nil
	}
	return nil, fmt.Errorf("blobs: the scheme of %q is not known; give file:///path or s3://BUCKET", u.Redacted())
}

func openDir(u *url.URL) (*Store, error) {
	if u.Host != "" || !filepath.IsAbs(u.Path) {
		return nil, fmt.Errorf("blobs: %q names no absolute path; write it with three slashes, file:///path/blobs", u)
	}
	b, err := fileblob.OpenBucket(u.Path, &fileblob.Options{
		CreateDir:   true,
		DirFileMode: 0o700,
		NoTempDir:   true, // beside the target, because a rename must not cross file systems
		Metadata:    fileblob.MetadataDontWrite,
	})
	if err != nil {
		return nil, fmt.Errorf("blobs: %s can't be used: %w; name a directory that this user may write", u.Path, err)
	}
	return &Store{bucket: b, dir: u.Path, name: u.String()}, nil
}

// Close gives the store's connections back.
func (s *Store) Close() error { return s.bucket.Close() }

// Name is the store's URL without credentials.
func (s *Store) Name() string { return s.name }

var goodKey = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$`)

func checkKey(key string) error {
	if len(key) > 512 || !goodKey.MatchString(key) {
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
	wctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := s.bucket.NewWriter(wctx, key, &blob.WriterOptions{ContentType: contentType, DisableContentTypeDetection: true})
	if err != nil {
		return s.edge(err)
	}
	if _, err := io.Copy(w, r); err != nil {
		cancel() // before Close, or it would keep the half that came
		_ = w.Close()
		return s.readerOr(err)
	}
	if err := w.Close(); err != nil {
		return s.edge(err)
	}
	if s.dir != "" {
		return s.sync(key)
	}
	return nil
}

// readerOr leaves the source's own fault as it is; what the store says is a store's error.
func (s *Store) readerOr(err error) error {
	if errors.As(err, new(*fault.Error)) {
		return err
	}
	return s.edge(err)
}

// sync makes a new file of a local store private, and durable: its content and its name.
func (s *Store) sync(key string) error {
	path := filepath.Join(s.dir, filepath.FromSlash(key))
	if err := os.Chmod(path, 0o600); err != nil { // the driver leaves it to the umask
		return fmt.Errorf("blob: %w", err)
	}
	for _, p := range []string{path, filepath.Dir(path)} {
		f, err := os.Open(p)
		if err != nil {
			return fmt.Errorf("blob: %w", err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("blob: sync %s: %w", p, err)
		}
	}
	return nil
}

// Get opens a blob. A missing one is fault.NotFound.
func (s *Store) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	r, err := s.bucket.NewReader(ctx, key, nil)
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
	err := s.bucket.Delete(ctx, key)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil
	}
	return s.edge(err)
}

// Exists reports whether there is a blob under key.
func (s *Store) Exists(ctx context.Context, key string) (bool, error) {
	if err := checkKey(key); err != nil {
		return false, err
	}
	ok, err := s.bucket.Exists(ctx, key)
	return ok, s.edge(err)
}

// Check asks the store for an answer, for doctor and readiness.
func (s *Store) Check(ctx context.Context) error {
	ok, err := s.bucket.IsAccessible(ctx)
	if err == nil && !ok {
		err = errors.New("it isn't there or may not be read")
	}
	if err == nil && s.dir != "" {
		_, err = os.Stat(s.dir) // to the driver a missing directory is an empty one
	}
	if err != nil {
		return fmt.Errorf("blobs: %s doesn't answer: %w", s.name, err)
	}
	return nil
}

// edge turns the driver's errors into faults: above, nobody knows which store it is.
func (s *Store) edge(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if gcerrors.Code(err) == gcerrors.NotFound {
		return fault.Wrap(err, fault.NotFound, "the file is not there")
	}
	return fault.Away(err, "the file store")
}
