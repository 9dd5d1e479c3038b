package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"

	"gantry/internal/kit"
	"gantry/internal/platform/config"
	"gantry/internal/server"
)

type serveCmd struct {
	config.Serve `embed:""`
}

// Run is the life of a server: hold the data directory, listen, open, announce, serve, drain.
func (s *serveCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	cfg := &s.Serve
	if err := cfg.Finish(src); err != nil {
		return err
	}
	log := slog.New(kit.LogHandler(newLogger(io, cfg.Log).Handler()))
	loose, err := makeDataDir(cfg.Data)
	if err != nil {
		return err
	}
	if loose {
		log.Warn("other users of this machine may enter the data directory; `chmod 700` shuts them out", "data", cfg.Data)
	}
	lock, err := lockFile(filepath.Join(cfg.Data, "serve.lock"))
	if err != nil {
		return fmt.Errorf("another `gantry serve` runs on %s: %w; stop it, or name another directory with --data", cfg.Data, err)
	}
	defer func() { _ = lock.Close() }() // the lock ends with it
	l, err := listen(cfg, log)
	if err != nil {
		return err
	}
	defer l.close()
	srv, err := server.New(ctx, cfg, log, server.Options{})
	if err != nil {
		return err
	}
	defer func() {
		if err := srv.Close(); err != nil {
			log.Error("not everything closed cleanly", "error", err)
		}
	}()
	if err := announce(io, log, cfg, l.public.Addr(), srv.First()); err != nil {
		return err
	}
	// What only the start needed goes back to the machine; nobody waits for it.
	go debug.FreeOSMemory()
	return serveUntil(ctx, cfg, log, srv, l)
}

// listeners are the two doors: the network's and the embedded worker's.
type listeners struct {
	public  net.Listener
	gateway *gatewaySocket
}

// listen opens the doors before anything else is touched, and makes the public URL of the address that was really taken.
func listen(cfg *config.Serve, log *slog.Logger) (*listeners, error) {
	public, err := net.Listen("tcp", cfg.Listen.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w; name another address with --listen", cfg.Listen.Listen, err)
	}
	cfg.PublicURL = cfg.URLFor(public.Addr())
	if cfg.TLS() {
		pair, err := tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("TLS files: %w", err), public.Close())
		}
		public = tls.NewListener(public, &tls.Config{
			Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		})
	}
	gateway, err := listenGateway(cfg.Data)
	if err != nil {
		return nil, errors.Join(err, public.Close())
	}
	if gateway.elsewhere != "" {
		log.Info("the data directory's path is too long for a socket; the gateway's socket is elsewhere", "socket", gateway.path)
	}
	return &listeners{public: public, gateway: gateway}, nil
}

func (l *listeners) close() {
	_ = l.public.Close()  // closed already after a drain
	_ = l.gateway.Close() // likewise
}

const (
	headerTime = 10 * time.Second
	idleTime   = 2 * time.Minute
	// requestsEnd is how long running requests have when the server stops.
	requestsEnd = 10 * time.Second
)

func newHTTP(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// serveUntil serves until ctx ends or a part fails. The order of the end matters: the worker hands its sessions back through the
// gateway, so the doors close after it, and the rooms after the doors.
func serveUntil(ctx context.Context, cfg *config.Serve, log *slog.Logger, srv *server.Server, l *listeners) error {
	public, gateway := newHTTP(srv.Handler(), log), newHTTP(srv.Handler(), log)
	doors, doorsCtx := errgroup.WithContext(context.WithoutCancel(ctx))
	doors.Go(func() error { return serveDoor(public, l.public) })
	doors.Go(func() error { return serveDoor(gateway, l.gateway) })

	rooms, stopRooms := context.WithCancel(doorsCtx)
	defer stopRooms()
	doors.Go(func() error { return srv.Run(rooms) })

	working, stopWork := context.WithCancel(doorsCtx)
	defer stopWork()
	var worker errgroup.Group
	if !cfg.NoWorker {
		w := newEmbedded(cfg, l.gateway.path, srv.EmbeddedKey().Reveal(), log)
		worker.Go(func() error { return w.run(working) })
	}

	select {
	case <-ctx.Done():
		log.Info("stopping: the worker drains first")
	case <-doorsCtx.Done():
		log.Error("a part of the server failed; stopping", "error", context.Cause(doorsCtx))
	}
	srv.Stopping()
	stopWork()
	err := worker.Wait()
	srv.Drain()
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestsEnd)
	defer cancel()
	// Requests that are still running then are cut off; their transactions roll back.
	_ = errors.Join(public.Shutdown(ending), gateway.Shutdown(ending))
	_ = errors.Join(public.Close(), gateway.Close())
	stopRooms()
	err = errors.Join(err, doors.Wait())
	if err == nil {
		log.Info("stopped")
	}
	return err
}

func serveDoor(s *http.Server, l net.Listener) error {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
