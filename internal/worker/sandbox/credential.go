package sandbox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gantry/internal/platform/clock"
	"gantry/internal/wire"
)

// credentialAsk and credentialAnswer are the one exchange on the credential socket, each a JSON line.
type credentialAsk struct {
	Protocol string `json:"protocol"`
	Host     string `json:"host"`
	Path     string `json:"path"`
}

type credentialAnswer struct {
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	Error    string `json:"error,omitempty"`
}

const credentialWait = 10 * time.Second

// offer asks for the credential of one operation and puts it behind a socket for as long as git runs: settings and variables for
// git, and what ends the offer. Neither the environment nor the repository's configuration ever holds the credential.
func (w *Workspace) offer(ctx context.Context, p CloneParams, rem remote) (args, env []string, stop func(), err error) {
	none := func() {}
	if p.Credential == nil {
		return nil, nil, none, fmt.Errorf("repository %s: needs a credential, and there is nobody to ask", p.Repository.Name)
	}
	reply, err := p.Credential(ctx, "clone")
	if err != nil {
		return nil, nil, none, fmt.Errorf("repository %s: its credential: %w", p.Repository.Name, err)
	}
	switch {
	case rem.scheme == "https" && reply.Password != "":
		stop, err = w.offerPassword(rem, reply)
		return []string{"-c", "credential.helper=" + w.Paths().Self + " git-credential"}, nil, stop, err
	case rem.scheme == "ssh" && reply.PrivateKey != "":
		env, stop, err = w.offerKey(reply)
		return nil, env, stop, err
	case rem.scheme == "file":
		return nil, nil, none, nil
	}
	return nil, nil, none, fmt.Errorf("repository %s: the credential doesn't fit an %s address", p.Repository.Name, rem.scheme)
}

// offerPassword answers the first question for exactly this repository, and none after it.
func (w *Workspace) offerPassword(rem remote, reply wire.CredentialReply) (func(), error) {
	var once sync.Mutex
	given := false
	answer := func(ask credentialAsk) credentialAnswer {
		once.Lock()
		defer once.Unlock()
		switch {
		case ask.Protocol != "https" || hostPort(ask.Host, "443") != net.JoinHostPort(rem.host, rem.port) ||
			repositoryPath(ask.Path) != repositoryPath(rem.path):
			return credentialAnswer{Error: "this repository is none of the session's"}
		case given:
			return credentialAnswer{Error: "the credential was given out already, or the host refused it"}
		}
		given = true
		return credentialAnswer{Username: reply.Username, Password: reply.Password}
	}
	return w.serve(credentialSocket, credentialWait, func(c net.Conn) {
		var ask credentialAsk
		if json.NewDecoder(io.LimitReader(c, 16<<10)).Decode(&ask) == nil {
			_ = json.NewEncoder(c).Encode(answer(ask))
		}
	})
}

func repositoryPath(p string) string { return strings.TrimSuffix(strings.Trim(p, "/"), ".git") }

// serve answers each connection to a socket of the run directory until the returned function is called. One at a time: nobody
// inside can pile up connections out here.
func (w *Workspace) serve(name string, wait time.Duration, handle func(net.Conn)) (func(), error) {
	ln, err := w.listen(name)
	if err != nil {
		return func() {}, fmt.Errorf("sandbox: socket %s: %w", name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(clock.Clock{}.Now().Add(wait))
			unhook := context.AfterFunc(ctx, func() { _ = c.Close() })
			handle(c)
			unhook()
			_ = c.Close()
		}
	})
	return func() { cancel(); _ = ln.Close(); open.Wait() }, nil
}

// CredentialHelper is `gantry git-credential get|store|erase`: git's credential helper inside the sandbox. It asks the worker over
// the bound socket and stores nothing.
func CredentialHelper(args []string) int {
	if len(args) != 1 {
		return complain(exitSetup, errors.New("usage: git-credential get|store|erase"))
	}
	if args[0] != "get" {
		_, _ = io.Copy(io.Discard, os.Stdin)
		return 0
	}
	answer, err := askCredential(os.Stdin, filepath.Join(runDir(), credentialSocket))
	if err == nil && answer.Error != "" {
		err = errors.New(answer.Error)
	}
	if err != nil {
		_, _ = io.WriteString(os.Stdout, "quit=true\n") // git asks nobody else
		return complain(0, err)
	}
	_, _ = io.WriteString(os.Stdout, "username="+answer.Username+"\npassword="+answer.Password+"\n")
	return 0
}

func askCredential(in io.Reader, socket string) (credentialAnswer, error) {
	var ask credentialAsk
	for sc := bufio.NewScanner(in); sc.Scan() && sc.Text() != ""; {
		switch k, v, _ := strings.Cut(sc.Text(), "="); k {
		case "protocol":
			ask.Protocol = v
		case "host":
			ask.Host = v
		case "path":
			ask.Path = v
		}
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return credentialAnswer{}, fmt.Errorf("no credentials are offered: %w", err)
	}
	defer conn.Close()
	if err := json.NewEncoder(conn).Encode(ask); err != nil {
		return credentialAnswer{}, err
	}
	var answer credentialAnswer
	if err := json.NewDecoder(conn).Decode(&answer); err != nil {
		return credentialAnswer{}, fmt.Errorf("the worker's answer: %w", err)
	}
	if strings.ContainsAny(answer.Username+answer.Password, "\n\x00") {
		return credentialAnswer{}, errors.New("the credential holds a line end")
	}
	return answer, nil
}
