package v3

import (
	"context"
	"net/http"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/playbook"
)

func init() { registrations = append(registrations, registerPlaybooks) }

// PlaybookResponse is a playbook. Times are Unix seconds.
type PlaybookResponse struct {
	PlaybookID             string     `json:"playbook_id"`
	AccessType             string     `json:"access_type" enum:"enterprise,org" doc:"Whose the playbook is."`
	OrgID                  *string    `json:"org_id" doc:"Null for a playbook of the enterprise."`
	Title                  string     `json:"title"`
	Body                   string     `json:"body"`
	Macro                  *string    `json:"macro" doc:"The word that calls it in a prompt or message."`
	StructuredOutputSchema kit.Object `json:"structured_output_schema" doc:"What its sessions hand in, unless they ask for something else."`
	CreatedBy              string     `json:"created_by" doc:"Id of the user or service user."`
	UpdatedBy              string     `json:"updated_by" doc:"Id of the user or service user."`
	CreatedAt              int64      `json:"created_at"`
	UpdatedAt              int64      `json:"updated_at"`
}

// PlaybookCreateRequest is a playbook, also to rewrite one: then macro and structured_output_schema are cleared by null and kept when
// left out.
type PlaybookCreateRequest struct {
	Title                  string               `json:"title" minLength:"1" maxLength:"256"`
	Body                   string               `json:"body" minLength:"1" doc:"Markdown; at most 262144 bytes."`
	Macro                  kit.Optional[string] `json:"macro,omitempty" pattern:"^![A-Za-z0-9_-]+$" doc:"! and letters, digits, _ or -; of one playbook only."`
	StructuredOutputSchema PlaybookSchema       `json:"structured_output_schema,omitempty" doc:"JSON Schema, Draft 7, at most 65536 bytes, without references to elsewhere."`
}

// PlaybookSchema is a schema that may be absent, null or given.
type PlaybookSchema struct {
	kit.Object
	set bool
}

// UnmarshalJSON notes that the member was there.
func (s *PlaybookSchema) UnmarshalJSON(b []byte) error {
	s.set = true
	return s.Object.UnmarshalJSON(b)
}

func playbookOf(p playbook.Playbook) PlaybookResponse {
	return PlaybookResponse{
		PlaybookID: p.ID, AccessType: p.AccessType(), OrgID: kit.NullText(p.OrgID), Title: p.Title, Body: p.Body, Macro: kit.NullText(p.Macro),
		StructuredOutputSchema: kit.Object{RawMessage: p.Schema}, CreatedBy: p.CreatedBy, UpdatedBy: p.UpdatedBy,
		CreatedAt: p.CreatedAt.Unix(), UpdatedAt: p.UpdatedAt.Unix(),
	}
}

type playbookOutput struct{ Body PlaybookResponse }

func playbookAnswer(p playbook.Playbook, err error) (*playbookOutput, error) {
	if err != nil {
		return nil, err
	}
	return &playbookOutput{Body: playbookOf(p)}, nil
}

// PlaybookPath names one playbook.
type PlaybookPath struct {
	PlaybookID string `path:"playbook_id" maxLength:"256" doc:"Playbook id."`
}

func (r *PlaybookCreateRequest) params(orgID, playbookID string) playbook.Params {
	p := playbook.Params{
		OrgID: orgID, PlaybookID: playbookID, Title: r.Title, Body: r.Body,
		Schema: playbook.SchemaChange{Set: r.StructuredOutputSchema.set, Value: r.StructuredOutputSchema.RawMessage},
	}
	if r.Macro.Set {
		macro := r.Macro.Or("")
		p.Macro = &macro
	}
	return p
}

func registerPlaybooks(a *kit.API, rooms Rooms) {
	for _, f := range twins("playbooks", access.ManageOrgPlaybooks, access.ManageAccountPlaybooks) {
		registerPlaybookTwin(a, f, rooms.Playbooks)
	}
}

func registerPlaybookTwin(a *kit.API, f twin, room *playbook.Service) {
	type listOutput struct{ Body kit.Page[PlaybookResponse] }
	list := f.op("list", "Playbooks", http.MethodGet, "", "List playbooks, oldest first", "playbooks")
	list.Operation.Description = "The organization's own playbooks, then the enterprise's. A page of long ones may hold fewer than asked for."
	if f.enterprise {
		list.Operation.Description = "Those of the enterprise. A page of long ones may hold fewer than asked for."
	}
	kit.Register(a, list, func(ctx context.Context, s access.Subject, in *struct{ kit.PageInput }) (*listOutput, error) {
		r, err := kit.OpenPage(ctx, in.PageInput)
		if err != nil {
			return nil, err
		}
		p, err := room.List(ctx, s, kit.Org(ctx), r)
		if err != nil {
			return nil, err
		}
		return &listOutput{Body: kit.ClosePage(ctx, p, playbookOf)}, nil
	})
	create := f.op("create", "Playbook", http.MethodPost, "", "Create a playbook", "playbooks")
	create.Creates = true
	create.Operation.MaxBodyBytes = textBody
	kit.Register(a, create, func(ctx context.Context, s access.Subject, in *struct{ Body PlaybookCreateRequest }) (*playbookOutput, error) {
		return playbookAnswer(room.Create(ctx, s, in.Body.params(kit.Org(ctx), "")))
	})
	kit.Register(a, f.op("get", "Playbook", http.MethodGet, "/{playbook_id}", "Read a playbook", "playbooks"),
		func(ctx context.Context, s access.Subject, in *PlaybookPath) (*playbookOutput, error) {
			return playbookAnswer(room.Get(ctx, s, kit.Org(ctx), in.PlaybookID))
		})
	update := f.op("update", "Playbook", http.MethodPut, "/{playbook_id}", "Rewrite a playbook", "playbooks")
	update.Operation.MaxBodyBytes = textBody
	update.Operation.Description = "macro and structured_output_schema are cleared by null and kept when left out."
	kit.Register(a, update, func(ctx context.Context, s access.Subject, in *struct {
		PlaybookPath
		Body PlaybookCreateRequest
	},
	) (*playbookOutput, error) {
		return playbookAnswer(room.Update(ctx, s, in.Body.params(kit.Org(ctx), in.PlaybookID)))
	})
	kit.Register(a, f.op("delete", "Playbook", http.MethodDelete, "/{playbook_id}", "Delete a playbook", "playbooks"),
		func(ctx context.Context, s access.Subject, in *PlaybookPath) (*playbookOutput, error) {
			return playbookAnswer(room.Delete(ctx, s, kit.Org(ctx), in.PlaybookID))
		})
}
