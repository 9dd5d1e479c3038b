package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"

	"gantry/internal/member"
	"gantry/internal/platform/config"
)

// adminKey is the form in which scripts get a first or fresh admin key.
type adminKey struct {
	Token         string `json:"token"`
	ServiceUserID string `json:"service_user_id"`
	OrgID         string `json:"org_id"`
}

func adminKeyOf(a *member.Admin) adminKey {
	return adminKey{Token: a.Token.Reveal(), ServiceUserID: a.ServiceUserID, OrgID: a.OrgID}
}

// firstKeyFile is where the first key goes when nobody looks at a terminal.
const firstKeyFile = "initial-admin.json"

// announce tells that the server is ready and, once in a database's life, the first key: to a person on a terminal, else to a
// file that only this user may read, and never to the log. The key is there before the server is said to be ready: whoever waits for
// that line may read the file at once.
func announce(io *stdio, log *slog.Logger, cfg *config.Serve, listening net.Addr, first *member.Admin) error {
	if first != nil && !io.terminal {
		if err := keepFirstKey(log, cfg, first); err != nil {
			return err
		}
	}
	log.Info("ready", "url", cfg.PublicURL, "listen", listening.String(), "data", cfg.Data, "version", version())
	if first != nil && io.terminal {
		io.printf(firstStart, cfg.PublicURL, first.OrgID, first.Token.Reveal(), cfg.PublicURL)
	}
	return nil
}

func keepFirstKey(log *slog.Logger, cfg *config.Serve, first *member.Admin) error {
	text, err := json.MarshalIndent(adminKeyOf(first), "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(cfg.Data, firstKeyFile)
	if err := writePrivate(path, append(text, '\n')); err != nil {
		return fmt.Errorf("the first key can't be written: %w; `gantry admin key` makes another", err)
	}
	log.Info("first start: the admin's key is in a file; read it and take it away", "file", path, "org_id", first.OrgID, "console", cfg.PublicURL)
	return nil
}

const firstStart = `
Gantry is ready.

  console        %s
  organization   %s
  admin key      %s   (shown this once)

  gantry login --url %s    keeps the key for this user
  gantry session create "…" --follow
`
