package worker

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"gantry/internal/platform/clock"
	"gantry/internal/wire"
	"gantry/internal/worker/sandbox"
)

// Phases of the setup as events name them.
const (
	phaseWorkspace   = "workspace"
	phaseClone       = "clone"
	phaseAttachments = "attachments"
	phaseAgent       = "agent"
)

const (
	maxAttachment = 75 << 20 // bytes of one file in or out (contract/behaviour.md §3.12)
	progressEvery = 2 * time.Second
)

// Places of a session's files below the agent's home, outside every repository.
const (
	dirAttachmentsIn = "attachments-in"
	dirAttachments   = "attachments"
	fileOutput       = "structured-output.json"
)

// setUp brings the session to where its agent waits for the first prompt. Its errors are failures, except when the run ends.
func (r *run) setUp() error {
	ctx, cancel := r.untilPaused()
	defer cancel()
	if err := r.phase(phaseWorkspace, "", r.openWorkspace); err != nil {
		return err
	}
	r.w.wg.Go(r.watchDisk)
	for _, repo := range r.spec.Repositories {
		if r.mem.Cloned {
			if err := r.ws.Allow(repo); err != nil {
				return &failure{text: "The repository " + repo.Name + " can't be shown.", cause: err}
			}
			continue
		}
		if err := r.phase(phaseClone, repo.Name, func() error { return r.cloneInTime(ctx, repo) }); err != nil {
			return err
		}
	}
	r.mem.Cloned = true
	if err := r.mem.save(); err != nil {
		text := "The workspace can't be written."
		if errors.Is(err, syscall.ENOSPC) {
			text = "The workspace's disk is full."
		}
		return &failure{text: text, cause: err}
	}
	return r.phase(phaseAgent, r.spec.Agent.Name, func() error { return r.startAgent(ctx) })
}

// phase reports a step of the setup and how long it took, and makes its error a failure that names it.
func (r *run) phase(name, detail string, do func() error) error {
	began := r.w.o.Clock.Now()
	r.say.event(wire.EventSetup, wire.SetupData{Phase: name, Status: "started", Detail: detail})
	err := do()
	data := wire.SetupData{Phase: name, Status: "done", Detail: detail, Millis: r.w.o.Clock.Since(began).Milliseconds()}
	if err != nil {
		data.Status, data.Detail = "failed", err.Error()
	}
	r.say.event(wire.EventSetup, data)
	if err == nil {
		return nil
	}
	if errors.Is(err, sandbox.ErrDiskFull) {
		return errDiskFull
	}
	what := map[string]string{
		phaseWorkspace: "The workspace can't be made", phaseClone: "The repository " + detail + " can't be cloned",
		phaseAttachments: "The attachments can't be fetched", phaseAgent: "The agent " + detail + " can't be started",
	}[name]
	return &failure{text: what + ": " + err.Error()}
}

func (r *run) openWorkspace() (err error) {
	if r.ws, err = r.w.box.Workspace(r.claim.SessionID); err != nil {
		return err
	}
	r.ws.Credentials(r.credential)
	r.mem = recall(r.ws)
	r.disk.next = time.UnixMilli(r.mem.DiskNext)
	r.say.recall(r.mem)
	r.ws.Pushes(r.say.pushed)
	r.mem.OutputGiven = r.mem.OutputGiven || r.spec.OutputGiven
	return r.ws.MakeDir(path.Join(r.ws.Paths().Home, dirAttachments))
}

// cloneWaits are the pauses before a clone is tried again that failed for a passing reason; cloneWithin is how long after the first try
// began another may follow, for hosts that let git wait.
var cloneWaits = []time.Duration{2 * time.Second, 5 * time.Second, 10 * time.Second}

const cloneWithin = 20 * time.Second

// cloneInTime clones one repository, and tries again a few times while its host can't be reached.
func (r *run) cloneInTime(ctx context.Context, repo wire.Repository) error {
	began := r.w.o.Clock.Now()
	for _, wait := range cloneWaits {
		err := r.clone(ctx, repo)
		if !errors.Is(err, sandbox.ErrPassing) || ctx.Err() != nil || r.w.o.Clock.Since(began)+wait > cloneWithin {
			return err
		}
		r.say.event(wire.EventSetup, wire.SetupData{
			Phase: phaseClone, Status: "started", Detail: fmt.Sprintf("%s: trying again in %s: %s", repo.Name, wait, err),
		})
		if !clock.Sleep(ctx, wait) {
			return err
		}
	}
	return r.clone(ctx, repo)
}

// clone clones one repository inside the sandbox, and shows git's progress now and then.
func (r *run) clone(ctx context.Context, repo wire.Repository) error {
	var shown time.Time
	return r.ws.Clone(ctx, sandbox.CloneParams{
		Repository: repo, Limits: r.spec.Limits,
		Progress: func(line string) {
			if now := r.w.o.Clock.Now(); now.Sub(shown) >= progressEvery {
				if !shown.IsZero() {
					r.say.event(wire.EventSetup, wire.SetupData{Phase: phaseClone, Status: "started", Detail: repo.Name + ": " + line})
				}
				shown = now
			}
		},
	})
}

// fetch brings a message's files into the agent's home and gives their paths as the agent sees them.
func (r *run) fetch(files []wire.Attachment) ([]string, error) {
	if len(files) == 0 {
		return nil, nil
	}
	ctx, cancel := r.untilPaused()
	defer cancel()
	var paths []string
	detail := "1 file"
	if len(files) > 1 {
		detail = strconv.Itoa(len(files)) + " files"
	}
	err := r.phase(phaseAttachments, detail, func() error {
		taken := map[string]bool{}
		for _, a := range files {
			// The id keeps files of one name in different messages apart.
			place := path.Join(r.ws.Paths().Home, dirAttachmentsIn, safeName(a.ID, nil), safeName(a.Name, taken))
			if err := retry(ctx, func() error { return r.fetchOne(ctx, a, place) }); err != nil {
				return fmt.Errorf("%s: %w", a.Name, err)
			}
			paths = append(paths, place)
		}
		return nil
	})
	return paths, err
}

func (r *run) fetchOne(ctx context.Context, a wire.Attachment, place string) error {
	in, err := r.gateway.Download(ctx, a.ID)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	return r.ws.WriteFile(place, in, maxAttachment, 0o644)
}

// safeName makes one path element of a name somebody chose, different from those that are taken.
func safeName(name string, taken map[string]bool) string {
	name = strings.Map(func(c rune) rune {
		if c == '/' || !unicode.IsPrint(c) {
			return '_'
		}
		return c
	}, filepath.Base(strings.ToValidUTF8(name, "_")))
	for len(name) > 200 {
		name = strings.ToValidUTF8(name[:200], "")
	}
	if strings.Trim(name, ".") == "" {
		name = "file"
	}
	free := name
	for i := 2; taken[free]; i++ {
		free = fmt.Sprintf("%d-%s", i, name)
	}
	if taken != nil {
		taken[free] = true
	}
	return free
}
