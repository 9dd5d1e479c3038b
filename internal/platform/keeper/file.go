package keeper

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

func randomKey() ([]byte, error) {
	b := make([]byte, keyLen)
	_, err := rand.Read(b)
	return b, err
}

// readOrMakeKey reads the key file, and makes it when there is none. Two processes that start at once end with one key.
func readOrMakeKey(path string) ([]byte, error) {
	key, err := readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := makeKey(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("keeper: %s can't be made: %w", path, err)
	}
	return readKey(path)
}

// readKept reads the key file of a database that was written with one.
func readKept(path string) ([]byte, error) {
	key, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("keeper: %s isn't there, but the database is: put the file back from a backup, nothing else opens the "+
			"database's secrets%s", path, orRotated)
	}
	return key, err
}

func readKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("keeper: %s may be read by others (mode %04o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	key, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	if len(key) != keyLen {
		return nil, fmt.Errorf("keeper: %s holds %d bytes, a key has %d; put the file back from a backup", path, len(key), keyLen)
	}
	return key, nil
}

// makeKey writes the whole key aside and links it into place, so that nobody ever reads half of it.
func makeKey(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	key, err := randomKey()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".keeper-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(key)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
