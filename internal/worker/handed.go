package worker

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"gantry/internal/wire"
	"gantry/internal/worker/link"
)

const (
	maxHanded  = 50   // files of one session
	maxEntries = 1000 // entries of the directory that are looked at
)

// upload hands over the files that the agent put into $GANTRY_ATTACHMENTS and that weren't handed over as they are now.
func (r *run) upload() {
	dir := path.Join(r.ws.Paths().Home, dirAttachments)
	files, err := r.ws.RegularFiles(dir, maxEntries)
	if err != nil {
		r.note("warning", "The attachments can't be read: "+err.Error())
		return
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return strings.Compare(a.Name(), b.Name()) })
	for _, f := range files {
		stamp := fmt.Sprintf("%d %d", f.Size(), f.ModTime().UnixNano())
		if r.mem.Uploaded[f.Name()] == stamp {
			continue
		}
		if len(r.mem.Uploaded) >= maxHanded && r.mem.Uploaded[f.Name()] == "" {
			r.note("warning", fmt.Sprintf("Only %d attachments are handed over; the rest stays in the workspace.", maxHanded))
			return
		}
		if err := r.uploadOne(path.Join(dir, f.Name()), f.Name()); err != nil {
			if r.ctx.Err() != nil {
				return
			}
			r.note("warning", fmt.Sprintf("The attachment %s can't be handed over: %v", f.Name(), err))
			if !link.Refused(err) {
				continue // it may work after the next turn
			}
		}
		r.mem.Uploaded[f.Name()] = stamp
	}
}

func (r *run) uploadOne(place, name string) error {
	shown := safeName(r.masker.String(name), nil) // the agent may have put anything into it
	var reply wire.AttachmentReply
	var size int64
	err := retry(r.ctx, func() error {
		f, err := r.ws.OpenRegular(place, maxAttachment)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		size = f.Size
		reply, err = r.gateway.Upload(r.ctx, shown, f)
		return err
	})
	if err != nil {
		return err
	}
	r.say.event(wire.EventAttachment, wire.AttachmentData{ID: reply.ID, Name: shown, Size: size})
	return nil
}

// note tells the user something about the session.
func (r *run) note(level, text string) {
	r.say.event(wire.EventLog, wire.LogData{Level: level, Text: text})
}
