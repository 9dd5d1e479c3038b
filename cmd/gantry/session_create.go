package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"gantry/internal/client"
)

type sessionCreateCmd struct {
	target   `embed:""`
	Prompt   string   `arg:"" optional:"" help:"What to do; - or nothing reads it from standard input."`
	Title    string   `help:"Name of the session."`
	Repo     []string `short:"r" help:"Repository by its name, or a path of this machine like \".\" when the server is local; may be repeated." placeholder:"REPO"`
	Tag      []string `help:"Tag; may be repeated." placeholder:"TAG"`
	Playbook string   `help:"Playbook to follow." placeholder:"PLAYBOOK_ID"`
	Attach   []string `help:"File to hand over; may be repeated." type:"existingfile" placeholder:"FILE"`
	Secret   []string `help:"Secret of this session: NAME takes its value from this environment, NAME=VALUE gives it; may be repeated." placeholder:"NAME[=VALUE]" sep:"none"`
	Schema   string   `help:"File with the JSON Schema (Draft 7) of the structured output." type:"existingfile" placeholder:"FILE"`
	MaxACU   *int     `name:"max-acu" help:"Stop after so many ACUs." placeholder:"N"`
	Mode     string   `help:"Mode, which may choose the agent: normal, fast, lite, ultra, fusion." placeholder:"MODE"`
	Platform string   `help:"Outpost whose workers run the session." placeholder:"NAME"`
	Follow   bool     `short:"f" help:"Show what the session does until it is done or waits."`
}

// Run starts a session. Everything that can be refused here is refused before anything is uploaded.
func (s *sessionCreateCmd) Run(ctx context.Context, io *stdio) error {
	body, err := s.body(io)
	if err != nil {
		return err
	}
	c, org, err := s.openOrg(ctx, io)
	if err != nil {
		return err
	}
	for _, r := range s.Repo {
		name, err := repository(ctx, io, c, r)
		if err != nil {
			return err
		}
		body.Repos = append(body.Repos, name)
	}
	if body.AttachmentURLs, err = uploadAll(ctx, c, org, s.Attach); err != nil {
		return err
	}
	got, err := c.CreateSession(ctx, org, body)
	switch {
	case err != nil:
		return explain(err)
	case s.Follow:
		if !s.JSON {
			io.printf("session %s\n%s\n", got.SessionID, clean(got.URL))
		}
		return follow(ctx, io, &watch{c: c, org: org, session: got.SessionID}, s.JSON)
	case s.JSON:
		return io.json(got)
	}
	io.printf("session %s\n%s\nfollow it with `gantry session follow %s`\n", got.SessionID, clean(got.URL), got.SessionID)
	return nil
}

func (s *sessionCreateCmd) body(io *stdio) (client.CreateSession, error) {
	b := client.CreateSession{Title: s.Title, Tags: s.Tag, PlaybookID: s.Playbook, DevinMode: s.Mode, Platform: s.Platform}
	if s.MaxACU != nil {
		if b.MaxACULimit = *s.MaxACU; b.MaxACULimit < 1 {
			return b, errors.New("--max-acu must be 1 or more; without it the organization's limit counts")
		}
	}
	for _, text := range s.Secret {
		name, value, given := strings.Cut(text, "=")
		if !given {
			var ok bool
			if value, ok = os.LookupEnv(name); !ok {
				return b, fmt.Errorf("--secret %s: there is no such variable in this environment; give %s=VALUE", name, name)
			}
		}
		b.SessionSecrets = append(b.SessionSecrets, client.SessionSecret{Key: name, Value: value})
	}
	if s.Schema != "" {
		text, err := os.ReadFile(s.Schema)
		if err != nil {
			return b, err
		}
		if !json.Valid(text) {
			return b, fmt.Errorf("--schema %s is not JSON", s.Schema)
		}
		b.StructuredOutputSchema = text
	}
	var err error
	b.Prompt, err = readText(io, s.Prompt)
	return b, err
}

// isPath tells a path of this machine from a repository's name, which never begins like one.
func isPath(repo string) bool {
	return repo == "." || repo == ".." || strings.HasPrefix(repo, "./") || strings.HasPrefix(repo, "../") || filepath.IsAbs(repo)
}

// repository gives the name of a repository; a path is registered first.
func repository(ctx context.Context, io *stdio, c *client.Client, repo string) (string, error) {
	if !isPath(repo) {
		return repo, nil
	}
	root, err := worktree(repo)
	if err != nil {
		return "", err
	}
	if !local(c.URL()) {
		return "", fmt.Errorf("--repo %s: %s is another machine and can't read %s.\n"+
			"  Push it to a place that server reaches, have it registered with `gantry admin repo add NAME URL`, and name it with --repo NAME",
			repo, c.URL(), root)
	}
	r := client.Repository{Name: repoName(root), URL: (&url.URL{Scheme: "file", Path: root}).String()}
	got, err := c.AddRepository(ctx, r)
	if client.StatusOf(err) == 409 {
		// Another folder of this name is registered; the path makes the name its own.
		sum := sha256.Sum256([]byte(root))
		r.Name += "-" + hex.EncodeToString(sum[:3])
		got, err = c.AddRepository(ctx, r)
	}
	switch client.StatusOf(err) {
	case 403:
		return "", fmt.Errorf("--repo %s: this key may not list repositories: %w\n"+
			"  Have it listed on the server's machine with `gantry admin repo add %s %s`, and name it with --repo %s",
			repo, err, r.Name, r.URL, r.Name)
	case 400, 422:
		return "", fmt.Errorf("--repo %s: %w\n"+
			"  Start the server with --repo-root %s, or register it on the server's machine: gantry admin repo add %s %s",
			repo, err, filepath.Dir(root), r.Name, r.URL)
	}
	if err != nil {
		return "", explain(err)
	}
	io.note("repository %s is %s (what is committed there)", got.Name, root)
	return got.Name, nil
}

// worktree finds the repository that a path lies in.
func worktree(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return "", fmt.Errorf("--repo %s: %w", path, err)
	}
	for dir := abs; ; dir = filepath.Dir(dir) {
		if isRepository(dir) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("--repo %s: %w", path, errors.New("neither it nor a folder above it is a git repository"))
		}
	}
}

// isRepository knows a work tree by .git and a bare repository by its parts.
func isRepository(dir string) bool {
	if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
		return true
	}
	_, herr := os.Stat(filepath.Join(dir, "HEAD"))
	st, oerr := os.Stat(filepath.Join(dir, "objects"))
	return herr == nil && oerr == nil && st.IsDir()
}

// repoName makes a name of a folder: letters, digits, dots, dashes and underscores.
func repoName(root string) string {
	name := strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || strings.ContainsRune("._-", r)) {
			return r
		}
		return '-'
	}, strings.TrimSuffix(filepath.Base(root), ".git"))
	if name = strings.Trim(name, ".-"); name == "" {
		return "repository"
	}
	return name
}
