package blob

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"gantry/internal/platform/id"
)

// marked is the file that holds a directory's mark. No key begins with a dot.
const marked = ".mark"

// Mark gives what tells a store that is a directory from every other, so that servers can see whether they share it: "" while it has none.
// With anew it gets one, the same however many servers ask at once. local is false for a bucket, which every server reaches alike.
func (s *Store) Mark(anew bool) (mark string, local bool, err error) {
	d, local := s.place.(dir)
	if !local {
		return "", false, nil
	}
	mark, err = d.mark()
	if anew && err == nil && mark == "" {
		mark, err = d.markAnew()
	}
	return mark, true, s.edge(err)
}

func (d dir) mark() (string, error) {
	text, err := os.ReadFile(filepath.Join(d.path, marked))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(text), err
}

// markAnew links a whole file to the mark's name, which succeeds once.
func (d dir) markAnew() (string, error) {
	f, err := os.CreateTemp(d.path, unfinished+"*") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(id.UUID())
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Link(f.Name(), filepath.Join(d.path, marked))
	}
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	if err = errors.Join(err, os.Remove(f.Name())); err != nil {
		return "", err
	}
	return d.mark()
}
