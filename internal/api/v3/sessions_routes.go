package v3

import (
	"context"
	"net/http"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/platform/id"
	"gantry/internal/session"
)

// SessionFilter are the filters that both families of lists take. Lists repeat or are joined by commas.
type SessionFilter struct {
	kit.PageInput
	SessionIDs      []string            `query:"session_ids,explode"`
	CreatedAfter    kit.Optional[int64] `query:"created_after" doc:"Unix seconds."`
	CreatedBefore   kit.Optional[int64] `query:"created_before" doc:"Unix seconds."`
	UpdatedAfter    kit.Optional[int64] `query:"updated_after" doc:"Unix seconds."`
	UpdatedBefore   kit.Optional[int64] `query:"updated_before" doc:"Unix seconds."`
	Tags            []string            `query:"tags,explode" doc:"Sessions with any of them."`
	PlaybookID      string              `query:"playbook_id"`
	Origins         []string            `query:"origins,explode"`
	Category        string              `query:"category"`
	RepoNames       []string            `query:"repo_names,explode"`
	IsArchived      kit.Optional[bool]  `query:"is_archived" doc:"Absent: those that aren't."`
	ScheduleID      string              `query:"schedule_id"`
	AutomationIDs   []string            `query:"automation_ids,explode"`
	ParentSessionID string              `query:"parent_session_id"`
	UserIDs         []string            `query:"user_ids,explode"`
	ServiceUserIDs  []string            `query:"service_user_ids,explode"`
}

func (f *SessionFilter) filter(orgID string) session.Filter {
	out := session.Filter{
		OrgID: orgID, CreatedAfter: filterTime(f.CreatedAfter), CreatedBefore: filterTime(f.CreatedBefore),
		UpdatedAfter: filterTime(f.UpdatedAfter), UpdatedBefore: filterTime(f.UpdatedBefore), Tags: f.Tags, PlaybookID: f.PlaybookID,
		Origins: f.Origins, Category: f.Category, RepoNames: f.RepoNames, Archived: f.IsArchived.Ptr(), ScheduleID: f.ScheduleID,
		AutomationIDs: f.AutomationIDs, ParentID: id.BareSession(f.ParentSessionID), UserIDs: f.UserIDs, ServiceUserIDs: f.ServiceUserIDs,
	}
	for _, s := range f.SessionIDs {
		out.SessionIDs = append(out.SessionIDs, id.BareSession(s))
	}
	return out
}

type SessionPageInput struct {
	SessionPath
	kit.PageInput
}

type (
	sessionPageOutput struct{ Body kit.Page[SessionResponse] }
	messagePageOutput struct{ Body kit.Page[SessionMessage] }
	attachmentsOutput struct{ Body []SessionAttachment }
)

func (d sessionDoor) list(ctx context.Context, s access.Subject, in *SessionFilter, f session.Filter) (*sessionPageOutput, error) {
	r, err := kit.OpenPage(ctx, in.PageInput)
	if err != nil {
		return nil, err
	}
	p, err := d.s.List(ctx, s, f, r)
	if err != nil {
		return nil, err
	}
	return &sessionPageOutput{Body: kit.ClosePage(ctx, p, d.wire)}, nil
}

func (d sessionDoor) registerReads(a *kit.API, f sessionRoutes) {
	list := f.op("listSessions", http.MethodGet, "", "List sessions, newest first", f.view)
	if f.enterprise {
		kit.Register(a, list, func(ctx context.Context, s access.Subject, in *struct {
			SessionFilter
			OrgIDs             []string `query:"org_ids,explode"`
			IncludeDeletedOrgs bool     `query:"include_deleted_orgs"`
		},
		) (*sessionPageOutput, error) {
			filter := in.filter("")
			filter.OrgIDs, filter.IncludeDeletedOrgs = in.OrgIDs, in.IncludeDeletedOrgs
			return d.list(ctx, s, &in.SessionFilter, filter)
		})
	} else {
		kit.Register(a, list, func(ctx context.Context, s access.Subject, in *SessionFilter) (*sessionPageOutput, error) {
			return d.list(ctx, s, in, in.filter(kit.Org(ctx)))
		})
	}
	kit.Register(a, f.op("getSession", http.MethodGet, "/{devin_id}", "Read a session", f.view),
		func(ctx context.Context, s access.Subject, in *SessionPath) (*sessionOutput, error) {
			return d.answer(d.s.Get(ctx, s, kit.Org(ctx), in.id()))
		})
	kit.Register(a, f.op("listSessionMessages", http.MethodGet, "/{devin_id}/messages", "Read the conversation, oldest first", f.view),
		func(ctx context.Context, s access.Subject, in *SessionPageInput) (*messagePageOutput, error) {
			r, err := kit.OpenPage(ctx, in.PageInput)
			if err != nil {
				return nil, err
			}
			p, err := d.s.Messages(ctx, s, kit.Org(ctx), in.id(), r)
			if err != nil {
				return nil, err
			}
			return &messagePageOutput{Body: kit.ClosePage(ctx, p, wireMessage)}, nil
		})
	kit.Register(a, f.op("getSessionTags", http.MethodGet, "/{devin_id}/tags", "Read a session's tags", f.view),
		func(ctx context.Context, s access.Subject, in *SessionPath) (*tagsOutput, error) {
			found, err := d.s.Get(ctx, s, kit.Org(ctx), in.id())
			if err != nil {
				return nil, err
			}
			return &tagsOutput{Body: SessionTags{Tags: kit.List(found.Tags)}}, nil
		})
	kit.Register(a, f.op("listSessionAttachments", http.MethodGet, "/{devin_id}/attachments", "List a session's files", f.view),
		func(ctx context.Context, s access.Subject, in *SessionPath) (*attachmentsOutput, error) {
			files, err := d.s.Attachments(ctx, s, kit.Org(ctx), in.id())
			if err != nil {
				return nil, err
			}
			out := make([]SessionAttachment, len(files))
			for i, file := range files {
				out[i] = d.wireAttachment(file)
			}
			return &attachmentsOutput{Body: out}, nil
		})
}

func (d sessionDoor) registerWrites(a *kit.API, f sessionRoutes) {
	say := f.op("createSessionMessage", http.MethodPost, "/{devin_id}/messages", "Say something to a session; wakes it", f.manage)
	say.Creates = true
	say.Operation.MaxBodyBytes = 2 << 20
	kit.Register(a, say, func(ctx context.Context, s access.Subject, in *struct {
		SessionPath
		Body SessionMessageCreateRequest
	},
	) (*sessionOutput, error) {
		return d.answer(d.s.SendMessage(ctx, s, session.MessageParams{
			OrgID: kit.Org(ctx), SessionID: in.id(), Message: in.Body.Message, AttachmentURLs: in.Body.AttachmentURLs,
			AsUserID: in.Body.MessageAsUserID.Value,
		}))
	})
	for _, m := range []struct {
		name, method, summary string
		add                   bool
	}{
		{"appendSessionTags", http.MethodPost, "Add tags to a session", true},
		{"replaceSessionTags", http.MethodPut, "Replace a session's tags", false},
	} {
		op := f.op(m.name, m.method, "/{devin_id}/tags", m.summary, f.manage)
		kit.Register(a, op, func(ctx context.Context, s access.Subject, in *struct {
			SessionPath
			Body SessionTags
		},
		) (*tagsOutput, error) {
			tags, err := d.s.SetTags(ctx, s, kit.Org(ctx), in.id(), in.Body.Tags, m.add)
			if err != nil {
				return nil, err
			}
			return &tagsOutput{Body: SessionTags{Tags: kit.List(tags)}}, nil
		})
	}
}

func wireMessage(m session.SessionMessage) SessionMessage {
	return SessionMessage{EventID: m.EventID, Source: m.Source, Message: m.Text, CreatedAt: m.CreatedAt.Unix()}
}
