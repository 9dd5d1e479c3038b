package main

import (
	"context"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
	"gantry/internal/server"
)

type adminRotateKeeperCmd struct {
	adminOptions `embed:""`
	To           string `arg:"" name:"new-keeper" help:"URL of the keeper that is to follow, as --keeper takes it: file:///path (made when missing), awskms://…."`
}

// Run has another keeper wrap every data key. What is sealed stays as it is. It may be broken off and run again.
func (c *adminRotateKeeperCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	if err := c.find(src); err != nil {
		return err
	}
	n, err := server.RotateKeeper(ctx, &c.Storage, c.To, clock.Clock{})
	if err != nil {
		return err
	}
	if c.JSON {
		return io.json(map[string]any{"keeper": config.Redact(c.To), "data_keys": n})
	}
	io.printf("data keys  %d\nkeeper     %s\n", n, config.Redact(c.To))
	io.note("start every server again with --keeper %s; keep the old keeper for as long as you keep backups from before", config.Redact(c.To))
	return nil
}
