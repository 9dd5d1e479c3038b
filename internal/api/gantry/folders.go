package gantry

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/knowledge"
)

func init() { registrations = append(registrations, registerFolders) }

// KnowledgeFolder is a folder of notes; the contract's own routes only read them.
type KnowledgeFolder struct {
	FolderID       string  `json:"folder_id"`
	OrgID          *string `json:"org_id" doc:"Null for a folder of the enterprise."`
	ParentFolderID *string `json:"parent_folder_id"`
	Name           string  `json:"name"`
	Path           string  `json:"path" doc:"As in /guides/go."`
	IsEnabled      bool    `json:"is_enabled" doc:"Its own switch."`
	IsLive         bool    `json:"is_live" doc:"It and every folder around it are switched on; else no session is given its notes."`
	NoteCount      int64   `json:"note_count" doc:"Notes directly inside."`
}

// KnowledgeFolderCreate makes a folder, and those around it that aren't there yet.
type KnowledgeFolderCreate struct {
	Path      string             `json:"path" minLength:"1" maxLength:"2000" doc:"As in /guides/go."`
	IsEnabled kit.Optional[bool] `json:"is_enabled,omitempty" doc:"True when left out."`
}

// KnowledgeFolderUpdate is a merge patch: absent or null keeps.
type KnowledgeFolderUpdate struct {
	Name      kit.Optional[string] `json:"name,omitempty" minLength:"1" maxLength:"100"`
	IsEnabled kit.Optional[bool]   `json:"is_enabled,omitempty"`
}

// KnowledgeNoteMove names the folder that a note goes to; null is none.
type KnowledgeNoteMove struct {
	FolderID kit.Optional[string] `json:"folder_id" required:"true"`
}

// KnowledgeNotePlace says where a note is.
type KnowledgeNotePlace struct {
	NoteID     string  `json:"note_id"`
	FolderID   *string `json:"folder_id"`
	FolderPath string  `json:"folder_path"`
}

type folderOutput struct{ Body KnowledgeFolder }

func folderAnswer(f knowledge.Folder, err error) (*folderOutput, error) {
	if err != nil {
		return nil, err
	}
	return &folderOutput{Body: KnowledgeFolder{
		FolderID: f.ID, OrgID: kit.NullText(f.OrgID), ParentFolderID: kit.NullText(f.ParentID), Name: f.Name, Path: f.Path,
		IsEnabled: f.Enabled, IsLive: f.Live, NoteCount: f.Notes,
	}}, nil
}

// FolderPath names one folder.
type FolderPath struct {
	FolderID string `path:"folder_id" maxLength:"256"`
}

// folderRoutes are the two families of routes, an organization's and the enterprise's.
type folderRoutes struct {
	prefix, infix string
	any           []access.Permission
	enterprise    bool
}

func (f folderRoutes) op(verb, what, method, path, summary string) kit.Op {
	op := kit.Op{
		Operation: huma.Operation{
			OperationID: verb + f.infix + what, Method: method, Path: f.prefix + path, Summary: summary, Tags: []string{"knowledge"},
			DefaultStatus: http.StatusOK,
		},
		Any: f.any, Enterprise: f.enterprise,
	}
	if !f.enterprise {
		op.Operation.Parameters = []*huma.Param{{Name: "org_id", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}}}
	}
	return op
}

func registerFolders(a *kit.API, rooms Rooms) {
	for _, f := range []folderRoutes{
		{"/gantry/v1/organizations/{org_id}/knowledge", "", []access.Permission{access.ManageOrgKnowledge, access.ManageAccountKnowledge}, false},
		{"/gantry/v1/knowledge", "Enterprise", []access.Permission{access.ManageAccountKnowledge}, true},
	} {
		registerFolderRoutes(a, f, rooms.Knowledge)
	}
}

func registerFolderRoutes(a *kit.API, f folderRoutes, room *knowledge.Service) {
	create := f.op("create", "KnowledgeFolder", http.MethodPost, "/folders", "Make a folder for notes, and those around it")
	create.Creates = true
	kit.Register(a, create, func(ctx context.Context, s access.Subject, in *struct{ Body KnowledgeFolderCreate }) (*folderOutput, error) {
		return folderAnswer(room.CreateFolder(ctx, s, knowledge.FolderParams{
			OrgID: kit.Org(ctx), Path: in.Body.Path, Enabled: in.Body.IsEnabled.Ptr(),
		}))
	})
	kit.Register(a, f.op("update", "KnowledgeFolder", http.MethodPatch, "/folders/{folder_id}", "Rename a folder, or switch it and what is in it"),
		func(ctx context.Context, s access.Subject, in *struct {
			FolderPath
			Body KnowledgeFolderUpdate
		},
		) (*folderOutput, error) {
			return folderAnswer(room.UpdateFolder(ctx, s, knowledge.FolderParams{
				OrgID: kit.Org(ctx), FolderID: in.FolderID, Name: in.Body.Name.Ptr(), Enabled: in.Body.IsEnabled.Ptr(),
			}))
		})
	kit.Register(a, f.op("delete", "KnowledgeFolder", http.MethodDelete, "/folders/{folder_id}", "Delete an empty folder"),
		func(ctx context.Context, s access.Subject, in *FolderPath) (*folderOutput, error) {
			return folderAnswer(room.DeleteFolder(ctx, s, kit.Org(ctx), in.FolderID))
		})
	type placeOutput struct{ Body KnowledgeNotePlace }
	kit.Register(a, f.op("move", "Note", http.MethodPut, "/notes/{note_id}/folder", "Put a note into a folder"),
		func(ctx context.Context, s access.Subject, in *struct {
			NoteID string `path:"note_id" maxLength:"256"`
			Body   KnowledgeNoteMove
		},
		) (*placeOutput, error) {
			n, err := room.Move(ctx, s, kit.Org(ctx), in.NoteID, in.Body.FolderID.Or(""))
			if err != nil {
				return nil, err
			}
			return &placeOutput{Body: KnowledgeNotePlace{NoteID: n.ID, FolderID: kit.NullText(n.FolderID), FolderPath: n.FolderPath}}, nil
		})
}
