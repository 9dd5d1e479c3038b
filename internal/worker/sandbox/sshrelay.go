package sandbox

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"gantry/internal/platform/clock"
	"gantry/internal/wire"
)

// Git over ssh goes the way that its HTTP goes: the program inside that git takes for ssh says over a socket which repository it wants,
// and the connection, with its key, is made out here.

const (
	sshSocket      = "git-ssh.sock" // in the run directory
	sshConnections = 16             // at once, of one session
	sshWait        = 30 * time.Second
)

// sshAsk and sshAnswer open an exchange on the socket, each a JSON line. After a good answer git's own bytes go in, and frames come out.
type sshAsk struct {
	Host     string `json:"host"`
	Port     string `json:"port"`
	Command  string `json:"command"`
	Protocol string `json:"protocol,omitempty"` // GIT_PROTOCOL
}

type sshAnswer struct {
	// Foreign says that the address is none of the session's: ssh itself may try.
	Foreign bool   `json:"foreign,omitempty"`
	Error   string `json:"error,omitempty"`
}

// Frames that come out: a kind, a length of four bytes, and so many bytes. An exit's are its status.
const (
	frameOut  = 1
	frameErr  = 2
	frameExit = 3
)

// sshCommand is the ssh of git inside.
func (w *Workspace) sshCommand() string { return w.Paths().Self + " git-ssh" }

// sshRelay serves the socket until the workspace closes.
type sshRelay struct {
	w       *Workspace
	ln      net.Listener
	ctx     context.Context //nolint:containedctx // connections end with the session
	cancel  context.CancelFunc
	serving sync.WaitGroup
}

// serveSSH starts the session's ssh relay once. The caller holds w.mu.
func (w *Workspace) serveSSH() error {
	if w.ssh != nil {
		return nil
	}
	ln, err := w.listen(sshSocket)
	if err != nil {
		return fmt.Errorf("sandbox: socket %s: %w", sshSocket, err)
	}
	s := &sshRelay{w: w, ln: ln}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.serving.Go(s.accept)
	w.ssh = s
	return nil
}

func (s *sshRelay) close() {
	s.cancel()
	_ = s.ln.Close()
	s.serving.Wait()
}

func (s *sshRelay) accept() {
	free := make(chan struct{}, sshConnections)
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		select {
		case free <- struct{}{}:
		default:
			_ = c.Close()
			continue
		}
		s.serving.Go(func() {
			defer func() { <-free }()
			stop := context.AfterFunc(s.ctx, func() { _ = c.Close() })
			defer stop()
			defer func() { _ = c.Close() }()
			s.handle(c)
		})
	}
}

// handle carries one git program over one ssh connection.
func (s *sshRelay) handle(c net.Conn) {
	_ = c.SetReadDeadline(clock.Clock{}.Now().Add(sshWait))
	in := bufio.NewReader(c)
	var ask sshAsk
	line, err := in.ReadSlice('\n')
	if err != nil || json.Unmarshal(line, &ask) != nil {
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	run, answer := s.open(ask)
	if json.NewEncoder(c).Encode(answer) != nil || run == nil {
		if run != nil {
			run.close()
		}
		return
	}
	defer run.close()
	run.carry(s.ctx, in, &frames{to: c})
	s.w.pushed(run.repository, run.push)
}

// open finds the repository, asks whether this may be, and connects.
func (s *sshRelay) open(ask sshAsk) (*sshRun, sshAnswer) {
	service, path, ok := gitCommand(ask.Command)
	if !ok {
		return nil, sshAnswer{Foreign: true}
	}
	if ask.Port == "" {
		ask.Port = "22"
	}
	repo, rem, ok := s.w.repository("ssh", net.JoinHostPort(ask.Host, ask.Port), path)
	if !ok {
		return nil, sshAnswer{Foreign: true}
	}
	ctx, cancel := context.WithTimeout(s.ctx, sshWait)
	defer cancel()
	cred, err := s.w.askFor(ctx, repo.Name, gitServices[service])
	if errors.Is(err, ErrRefused) {
		return nil, sshAnswer{Error: err.Error()}
	}
	if err != nil {
		s.w.sb.log.Warn("git relay: no answer about a credential", "session_id", s.w.id, "repository", repo.Name, "error", err)
		return nil, sshAnswer{Error: "the server can't be asked for a credential now"}
	}
	if cred.PrivateKey == "" {
		return nil, sshAnswer{Error: "the repository's git connection has no ssh key"}
	}
	run, err := s.dial(ctx, rem, cred)
	if err != nil {
		s.w.sb.log.Warn("git relay: no ssh connection", "session_id", s.w.id, "repository", repo.Name, "error", err)
		return nil, sshAnswer{Error: "ssh to " + rem.host + ": " + sshFailure(err)}
	}
	if ask.Protocol != "" && len(ask.Protocol) < 256 {
		_ = run.session.Setenv("GIT_PROTOCOL", ask.Protocol) // a host may refuse it, and speaks the old protocol then
	}
	run.command, run.repository, run.push = service+" "+shellQuoted(path), repo.Name, watchPush(service)
	return run, sshAnswer{}
}

var (
	errPrivateKey = errors.New("the connection's private key can't be read")
	errKnownHosts = errors.New("the connection's known hosts can't be read")
)

// sshFailure says what went wrong, without what the key or the host's would tell.
func sshFailure(err error) string {
	var key *knownhosts.KeyError
	switch {
	case errors.As(err, &key):
		return "host key verification failed: it isn't the one the git connection knows"
	case strings.Contains(err.Error(), "unable to authenticate"):
		return "the host refuses the git connection's key"
	case errors.Is(err, errPrivateKey), errors.Is(err, errKnownHosts):
		return err.Error()
	}
	if _, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err); ok {
		return "the host has no key, or no way to speak, that the git connection's known hosts allow"
	}
	_, text := proxyError(err)
	return text
}

// sshRun is one command on one connection.
type sshRun struct {
	client     *ssh.Client
	session    *ssh.Session
	command    string
	repository string
	push       *push // nil for anything else
}

func (r *sshRun) close() { _ = r.client.Close() }

func (s *sshRelay) dial(ctx context.Context, rem remote, cred wire.CredentialReply) (*sshRun, error) {
	signer, err := ssh.ParsePrivateKey([]byte(cred.PrivateKey))
	if err != nil {
		return nil, errPrivateKey
	}
	check, algorithms, err := s.knownHosts(cred.KnownHosts)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(rem.url)
	if err != nil {
		return nil, err
	}
	user := u.User.Username()
	if user == "" {
		user = "git"
	}
	address := net.JoinHostPort(rem.host, rem.port)
	conn, err := s.w.sb.guard.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	c, channels, requests, err := ssh.NewClientConn(conn, address, &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: check, HostKeyAlgorithms: algorithms, Timeout: sshWait,
	})
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	client := ssh.NewClient(c, channels, requests)
	session, err := client.NewSession()
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	return &sshRun{client: client, session: session}, nil
}

// knownHosts reads a connection's known hosts, and which kinds of key they hold: a host that has several must show one of these.
func (s *sshRelay) knownHosts(text string) (ssh.HostKeyCallback, []string, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil, &knownhosts.KeyError{}
	}
	f, err := os.CreateTemp(s.w.host(dirState), "known-hosts-")
	if err != nil {
		return nil, nil, diskError(err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // the next start deletes it otherwise
	_, err = f.WriteString(text + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, nil, diskError(err)
	}
	check, err := knownhosts.New(f.Name())
	if err != nil {
		return nil, nil, errKnownHosts
	}
	var algorithms []string
	for rest := []byte(text); ; {
		_, _, key, _, next, err := ssh.ParseKnownHosts(rest)
		if err != nil {
			break
		}
		rest = next
		if key.Type() == ssh.KeyAlgoRSA {
			algorithms = append(algorithms, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		} else {
			algorithms = append(algorithms, key.Type())
		}
	}
	slices.Sort(algorithms)
	return check, slices.Compact(algorithms), nil
}

// carry runs the command, its input from in, its output and end as frames.
func (r *sshRun) carry(ctx context.Context, in io.Reader, out *frames) {
	stop := context.AfterFunc(ctx, r.close)
	defer stop()
	r.session.Stdout, r.session.Stderr = r.push.back(out.kind(frameOut)), out.kind(frameErr)
	stdin, err := r.session.StdinPipe()
	if err == nil {
		err = r.session.Start(r.command)
	}
	if err != nil {
		_ = out.exit(exitSetup)
		return
	}
	go func() { // it ends with the connection
		_, _ = io.Copy(stdin, r.push.out(in))
		_ = stdin.Close()
	}()
	status := 0
	if err := r.session.Wait(); err != nil {
		status = 128
		if e, ok := errors.AsType[*ssh.ExitError](err); ok {
			status = e.ExitStatus()
		}
	}
	_ = out.exit(status)
}

// frames writes frames, from several goroutines.
type frames struct {
	mu sync.Mutex
	to io.Writer
}

func (f *frames) write(kind byte, p []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(p)))
	_, err := f.to.Write(append(head, p...))
	return err
}

func (f *frames) exit(status int) error {
	return f.write(frameExit, binary.BigEndian.AppendUint32(nil, uint32(status)))
}

func (f *frames) kind(k byte) io.Writer { return framed{f, k} }

type framed struct {
	*frames
	kind byte
}

// Write writes one frame.
func (f framed) Write(p []byte) (int, error) {
	if err := f.write(f.kind, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// gitCommand takes the command apart that git gives to ssh: a service and a quoted path.
func gitCommand(command string) (service, path string, ok bool) {
	service, arg, ok := strings.Cut(command, " ")
	if !ok || gitServices[service] == "" || len(arg) < 2 || arg[0] != '\'' || arg[len(arg)-1] != '\'' {
		return "", "", false
	}
	path = strings.NewReplacer(`'\''`, `'`, `'\!'`, `!`).Replace(arg[1 : len(arg)-1])
	return service, path, !strings.ContainsAny(path, "\x00\n") && shellQuoted(path) == arg
}

// shellQuoted quotes as git does.
func shellQuoted(s string) string {
	return "'" + strings.NewReplacer(`'`, `'\''`, `!`, `'\!'`).Replace(s) + "'"
}

// GitSSH is `gantry git-ssh [OPTIONS] [USER@]HOST COMMAND`, the ssh of git inside the sandbox. A repository of the session's is reached
// over the worker; any other by ssh itself, with what the program that runs git has.
func GitSSH(args []string) int {
	ask, ok := parseSSH(args)
	if !ok {
		return plainSSH(args)
	}
	conn, err := net.Dial("unix", filepath.Join(runDir(), sshSocket))
	if err != nil {
		return plainSSH(args)
	}
	defer func() { _ = conn.Close() }() // the process ends
	if err := json.NewEncoder(conn).Encode(ask); err != nil {
		return complain(exitSetup, err)
	}
	in := bufio.NewReader(conn)
	line, err := in.ReadBytes('\n')
	var answer sshAnswer
	if err == nil {
		err = json.Unmarshal(line, &answer)
	}
	switch {
	case err != nil:
		return complain(exitSetup, fmt.Errorf("the worker's answer: %w", err))
	case answer.Foreign:
		return plainSSH(args)
	case answer.Error != "":
		return complain(exitSetup, errors.New(answer.Error))
	}
	go func() {
		_, _ = io.Copy(conn, os.Stdin)
		if c, ok := conn.(closeWriter); ok {
			_ = c.CloseWrite()
		}
	}()
	return readFrames(in)
}

func readFrames(in io.Reader) int {
	for {
		var head [5]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return complain(exitSetup, fmt.Errorf("the worker ended the connection: %w", err))
		}
		n := int64(binary.BigEndian.Uint32(head[1:]))
		to := io.Writer(os.Stdout)
		switch head[0] {
		case frameErr:
			to = os.Stderr
		case frameExit:
			var status [4]byte
			if _, err := io.ReadFull(in, status[:]); err != nil {
				return exitSetup
			}
			return int(binary.BigEndian.Uint32(status[:]) & 0xff)
		}
		if _, err := io.CopyN(to, in, n); err != nil {
			return complain(exitSetup, err)
		}
	}
}

// parseSSH reads the arguments that git gives to OpenSSH.
func parseSSH(args []string) (sshAsk, bool) {
	ask := sshAsk{Protocol: os.Getenv("GIT_PROTOCOL")}
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case a == "-p" && i+1 < len(args):
			i++
			ask.Port = args[i]
		case a == "-o" && i+1 < len(args):
			i++
		case strings.HasPrefix(a, "-"): // -4, -6
		default:
			if i+2 != len(args) {
				return ask, false
			}
			host := a[strings.LastIndexByte(a, '@')+1:]
			ask.Host, ask.Command = strings.Trim(strings.ToLower(host), "[]"), args[i+1]
			return ask, true
		}
	}
	return ask, false
}

// plainSSH is the machine's ssh, with the proxy as its way out.
func plainSSH(args []string) int {
	if _, err := os.Stat(filepath.Join(runDir(), proxySocket)); err == nil {
		if self, err := os.Executable(); err == nil {
			args = append([]string{"-o", "ProxyCommand=" + self + " sandbox-connect %h %p"}, args...)
		}
	}
	cmd := exec.Command("ssh", args...) //nolint:noctx // it lives as long as this program
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	if err != nil {
		return complain(exitSetup, err)
	}
	return 0
}
