package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"gantry/internal/wire"
)

const knownHostsFile = "known_hosts" // in the run directory

// sshCommand is the ssh git uses: no configuration, no keys and no trust but what the worker offers, and the proxy as its way out.
func (w *Workspace) sshCommand() string {
	p := w.Paths()
	cmd := "ssh -F none -a -x -T -o BatchMode=yes -o IdentityFile=none -o PreferredAuthentications=publickey" +
		" -o StrictHostKeyChecking=yes -o UpdateHostKeys=no -o CheckHostIP=no -o GlobalKnownHostsFile=/dev/null -o ConnectTimeout=30" +
		" -o UserKnownHostsFile=" + p.Run + "/" + knownHostsFile + " -o IdentityAgent=" + p.Run + "/" + sshAgentSocket
	if w.sb.opts.Net == NetProxy {
		cmd += " -o 'ProxyCommand=" + p.Self + " sandbox-connect %h %p'"
	}
	return cmd
}

// offerKey puts a private key behind an ssh agent's socket. The key itself never enters the sandbox.
func (w *Workspace) offerKey(reply wire.CredentialReply) ([]string, func(), error) {
	none := func() {}
	if reply.KnownHosts == "" {
		return nil, none, errors.New("the ssh credential names no known hosts: without them the host could be anybody")
	}
	key, err := ssh.ParseRawPrivateKey([]byte(reply.PrivateKey))
	if err != nil {
		return nil, none, errors.New("the ssh credential's private key can't be read (a key with a passphrase can't be used)")
	}
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		return nil, none, fmt.Errorf("the ssh credential's private key: %w", err)
	}
	file := filepath.Join(w.host(dirRun), knownHostsFile)
	if err := os.WriteFile(file, []byte(reply.KnownHosts+"\n"), 0o644); err != nil {
		return nil, none, diskError(err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		return nil, none, err
	}
	signer := &oneSignature{Agent: ring}
	// ssh keeps this connection until it is logged in.
	stop, err := w.serve(sshAgentSocket, time.Minute, func(c net.Conn) { _ = agent.ServeAgent(signer, c) })
	return nil, func() { stop(); _ = os.Remove(file) }, err
}

// oneSignature is an agent that lists its key and signs once: one login, one operation. Nothing else is offered.
type oneSignature struct {
	agent.Agent
	used atomic.Bool
}

var errAgentRefuses = errors.New("this agent signs once and does nothing else")

// Sign signs the first time.
func (a *oneSignature) Sign(key ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	return a.SignWithFlags(key, data, 0)
}

// SignWithFlags signs the first time.
func (a *oneSignature) SignWithFlags(key ssh.PublicKey, data []byte, flags agent.SignatureFlags) (*ssh.Signature, error) {
	if !a.used.CompareAndSwap(false, true) {
		return nil, errAgentRefuses
	}
	extended, ok := a.Agent.(agent.ExtendedAgent)
	if !ok {
		return a.Agent.Sign(key, data)
	}
	return extended.SignWithFlags(key, data, flags)
}

// Extension is not offered.
func (a *oneSignature) Extension(string, []byte) ([]byte, error) {
	return nil, agent.ErrExtensionUnsupported
}

// Add is refused.
func (a *oneSignature) Add(agent.AddedKey) error { return errAgentRefuses }

// Remove is refused.
func (a *oneSignature) Remove(ssh.PublicKey) error { return errAgentRefuses }

// RemoveAll is refused.
func (a *oneSignature) RemoveAll() error { return errAgentRefuses }

// Lock is refused.
func (a *oneSignature) Lock([]byte) error { return errAgentRefuses }

// Unlock is refused.
func (a *oneSignature) Unlock([]byte) error { return errAgentRefuses }

// Signers are not offered: they would be the keys.
func (a *oneSignature) Signers() ([]ssh.Signer, error) { return nil, errAgentRefuses }
