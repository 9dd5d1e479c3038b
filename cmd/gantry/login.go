package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"gantry/internal/client"
	"gantry/internal/platform/secret"
)

// profile is what `gantry login` keeps: one server, a key for it, and the organization to act in.
type profile struct {
	URL   string `json:"url"`
	Key   string `json:"key"`
	OrgID string `json:"org_id,omitempty"`
}

func profilePath() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("there is no home directory to keep a profile in: %w", err)
	}
	return filepath.Join(dir, "gantry", "profile.json"), nil
}

// readProfile gives an empty profile when none is kept.
func readProfile() (profile, error) {
	var p profile
	path, err := profilePath()
	if err != nil {
		return p, nil //nolint:nilerr // a user without a home directory has no profile
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("the profile can't be read: %w", err)
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return p, fmt.Errorf("the profile %s is damaged; run `gantry login` again: %w", path, err)
	}
	return p, nil
}

// write keeps the profile for this user only. It replaces the file in one step, so that a broken write loses nothing.
func (p profile) write() (string, error) {
	path, err := profilePath()
	if err != nil {
		return "", err
	}
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return "", err
	}
	return path, writePrivate(path, append(text, '\n'))
}

// writePrivate writes a file that only this user may read, whole or not at all.
func writePrivate(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

type loginCmd struct {
	URL string        `help:"Address of the server." default:"http://127.0.0.1:8080" placeholder:"URL" env:"GANTRY_URL"`
	Key secret.String `help:"API key. Asked for when it isn't given." placeholder:"KEY" env:"GANTRY_KEY,DEVIN_API_KEY"`
	Org string        `help:"Organization that later commands act in." placeholder:"ORG_ID" env:"GANTRY_ORG,DEVIN_ORG_ID"`
}

// Run checks the key before it keeps it.
func (l *loginCmd) Run(ctx context.Context, io *stdio) error {
	l.URL = strings.TrimSuffix(l.URL, "/")
	if _, err := client.New(client.Options{URL: l.URL}); err != nil {
		return err // before anybody types a key
	}
	if l.Key.IsZero() {
		key, err := askKey(io)
		if err != nil {
			return err
		}
		l.Key = key
	}
	t := target{URL: l.URL, Key: l.Key, Org: l.Org}
	c, err := client.New(client.Options{URL: t.URL, Key: t.Key, UserAgent: "gantry/" + version()})
	if err != nil {
		return err
	}
	self, err := c.Self(ctx)
	if err != nil {
		return explain(err)
	}
	org, err := t.organization(ctx, c)
	if err != nil {
		io.note("no organization is kept: %v", err)
	}
	if self.OrgID != "" && org != self.OrgID {
		return fmt.Errorf("the key belongs to %s, not to %s: leave --org, GANTRY_ORG and DEVIN_ORG_ID out", self.OrgID, org)
	}
	if l.Org != "" {
		// A key may be good for an organization and not for its sessions, so only one that isn't there is refused.
		if _, err := c.ListSessions(ctx, org, client.ListSessions{First: 1}); client.StatusOf(err) == 404 {
			return explain(err)
		}
	}
	path, err := profile{URL: t.URL, Key: l.Key.Reveal(), OrgID: org}.write()
	if err != nil {
		return err
	}
	io.printf("logged in to %s as %s\n", t.URL, clean(self.Name()))
	if org != "" {
		io.printf("organization %s\n", org)
	}
	io.printf("kept in %s\n", path)
	return nil
}

// askKey reads the key without showing it on a terminal, or the first line of a pipe.
func askKey(s *stdio) (secret.String, error) {
	if f, ok := s.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		_, _ = fmt.Fprint(s.err, "API key: ") // a prompt that can't be shown is no loss
		key, err := term.ReadPassword(int(f.Fd()))
		s.note("")
		return secret.New(strings.TrimSpace(string(key))), err
	}
	line, err := bufio.NewReader(s.in).ReadString('\n')
	if key := strings.TrimSpace(line); key != "" {
		return secret.New(key), nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return secret.String{}, fmt.Errorf("standard input: %w", err)
	}
	return secret.String{}, errors.New("no key was given: use --key, GANTRY_KEY or standard input")
}
