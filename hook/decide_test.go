package hook

import (
	"testing"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
)

// selfAndGone are a process that lives and one that has had its pid before.
func selfAndGone(t *testing.T) (self, gone process.Identity) {
	t.Helper()
	self, err := process.Self()
	if err != nil {
		t.Fatal(err)
	}
	return self, process.Identity{PID: self.PID, StartTicks: self.StartTicks + 1, BootID: self.BootID}
}

func TestAProgramIsLaunchedAgainByALivingStartOrKeeper(t *testing.T) {
	t.Parallel()
	self, gone := selfAndGone(t)
	was := pidfile.Record{Token: "a", Tunnel: gone}
	for name, test := range map[string]struct {
		change func(*pidfile.Record)
		want   bool
	}{
		"nothing has changed":        {func(*pidfile.Record) {}, false},
		"launched again":             {func(r *pidfile.Record) { r.Tunnel = self }, true},
		"being launched again":       {func(r *pidfile.Record) { r.Tunnel = process.Identity{} }, true},
		"a start moves it":           {func(r *pidfile.Record) { r.Starter = self }, true},
		"its start was killed":       {func(r *pidfile.Record) { r.Starter = gone }, false},
		"a keeper revives it":        {func(r *pidfile.Record) { r.Keeper, r.KeepAlive = self, true }, true},
		"its keeper was killed":      {func(r *pidfile.Record) { r.Keeper, r.KeepAlive = gone, true }, false},
		"a keeper ends it":           {func(r *pidfile.Record) { r.Keeper = self }, false},
		"a stop ends it":             {func(r *pidfile.Record) { r.Keeper, r.KeepAlive, r.Ending = self, true, true }, false},
		"it was stopped and started": {func(r *pidfile.Record) { r.Token, r.Tunnel = "b", self }, false},
	} {
		now := was
		if test.change(&now); relaunched(was, now) != test.want {
			t.Errorf("%s: %v, want %v", name, !test.want, test.want)
		}
	}
}

func TestKeeperDecides(t *testing.T) {
	t.Parallel()
	now := time.Now()
	holders := []process.Identity{{PID: 2, StartTicks: 1, BootID: "boot"}}
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	up := view{alive: true, lastUse: now}
	with := func(v view, change func(*view)) view {
		change(&v)
		return v
	}
	held := with(up, func(v *view) { v.holders = true })
	busy := with(up, func(v *view) { v.connected, v.clients = true, true })
	died := view{deadFrom: now, lastUse: now, canRevive: true}
	given := pidfile.Record{HandedOver: now}
	since := func(d time.Duration) view {
		return with(up, func(v *view) { v.handedFrom, v.stopFrom, v.lastUse = ago(d), ago(d), ago(d) })
	}
	came := func(idle time.Duration) view {
		return with(up, func(v *view) { v.handedFrom, v.came, v.lastUse = ago(time.Hour), true, ago(idle) })
	}
	idleGiven := pidfile.Record{HandedOver: now, Promise: pidfile.Promise{IdleStop: time.Minute}}
	scripted, passed := pidfile.Record{Promised: now, Promise: pidfile.Promise{EndWith: holders}}, with(up, func(v *view) { v.passed = true })
	self, gone := selfAndGone(t)
	promised := pidfile.Record{Promised: now, Shared: true, Promise: pidfile.Promise{EndWith: []process.Identity{self}}}
	stopped := promised
	stopped.EndIdle, stopped.Awaited = true, stopped.EndWith
	ending := func(v view, d time.Duration) view { v.endingFrom = ago(d); return v }
	for name, test := range map[string]struct {
		rec  pidfile.Record
		view view
		want verdict
	}{
		"nothing is promised":                               {pidfile.Record{}, up, leave},
		"nothing is promised of a tunnel in use":            {pidfile.Record{}, busy, leave},
		"nothing is promised of a dead tunnel":              {pidfile.Record{}, died, leave},
		"somebody else ends it":                             {pidfile.Record{Ending: true, EndIdle: true, Promise: pidfile.Promise{EndWith: holders}}, ending(up, 0), goOn},
		"somebody else ends what could be revived":          {pidfile.Record{Ending: true, Promise: pidfile.Promise{KeepAlive: true}}, ending(with(died, func(v *view) { v.holders = true }), 0), goOn},
		"somebody else ends what nobody wants any more":     {pidfile.Record{Ending: true, Promise: pidfile.Promise{ForGood: true}}, ending(up, 0), goOn},
		"somebody else ends what is dead":                   {pidfile.Record{Ending: true, Promise: pidfile.Promise{EndWith: holders}}, ending(with(died, func(v *view) { v.deadFrom = ago(deathPause) }), deathPause), goOn},
		"a stop may still be at it":                         {pidfile.Record{Ending: true}, ending(up, DefaultGrace+killTime-1), goOn},
		"a stop should be done":                             {pidfile.Record{Ending: true}, ending(held, DefaultGrace+killTime), endIt},
		"a stop should be done, and the session is cut":     {pidfile.Record{Ending: true}, ending(busy, DefaultGrace+killTime), endIt},
		"a patient stop may still be at it":                 {pidfile.Record{Ending: true, EndGrace: time.Hour}, ending(up, time.Hour+killTime-1), goOn},
		"a patient stop should be done":                     {pidfile.Record{Ending: true, EndGrace: time.Hour}, ending(up, time.Hour+killTime), endIt},
		"a stop should be done with what is dead":           {pidfile.Record{Ending: true, Promise: pidfile.Promise{KeepAlive: true}}, ending(with(died, func(v *view) { v.holders = true }), DefaultGrace+killTime), endIt},
		"a stop came, and it is in use":                     {pidfile.Record{EndIdle: true}, busy, goOn},
		"a stop came, and nobody is connected":              {pidfile.Record{EndIdle: true}, up, endIt},
		"a stop came to what is kept":                       {pidfile.Record{EndIdle: true, Promise: pidfile.Promise{ForGood: true}}, up, endIt},
		"a stop came to what has a holder":                  {pidfile.Record{EndIdle: true, Promise: pidfile.Promise{EndWith: holders}}, held, endIt},
		"a stop came, and the client may come back":         {pidfile.Record{EndIdle: true}, with(up, func(v *view) { v.clients = true }), endIt},
		"the holder lives":                                  {pidfile.Record{Promise: pidfile.Promise{EndWith: holders}}, held, goOn},
		"the holder is gone":                                {pidfile.Record{Promise: pidfile.Promise{EndWith: holders}}, up, endIt},
		"the holder is gone, and somebody is connected":     {pidfile.Record{Promise: pidfile.Promise{EndWith: holders}}, busy, goOn},
		"the holder is gone, and it is kept":                {pidfile.Record{Promise: pidfile.Promise{EndWith: holders, ForGood: true}}, up, leave},
		"the holder lives, and it is kept":                  {pidfile.Record{Promise: pidfile.Promise{EndWith: holders, ForGood: true}}, held, goOn},
		"the holder is gone, it is kept until idle":         {pidfile.Record{Promise: pidfile.Promise{EndWith: holders, ForGood: true, IdleStop: time.Minute}}, up, goOn},
		"the holder is gone, it is kept and alive":          {pidfile.Record{Promise: pidfile.Promise{EndWith: holders, ForGood: true, KeepAlive: true}}, up, goOn},
		"not idle for long enough":                          {pidfile.Record{Promise: pidfile.Promise{IdleStop: time.Minute, ForGood: true}}, with(up, func(v *view) { v.lastUse = ago(time.Minute - time.Nanosecond) }), goOn},
		"idle for long enough":                              {pidfile.Record{Promise: pidfile.Promise{IdleStop: time.Minute, ForGood: true}}, with(up, func(v *view) { v.lastUse = ago(time.Minute) }), endIt},
		"idle, though its holder lives":                     {pidfile.Record{Promise: pidfile.Promise{IdleStop: time.Minute, EndWith: holders}}, with(held, func(v *view) { v.lastUse = ago(time.Minute) }), endIt},
		"connected for longer than it may be idle":          {pidfile.Record{Promise: pidfile.Promise{IdleStop: time.Minute}}, with(busy, func(v *view) { v.lastUse = ago(time.Hour) }), goOn},
		"idle, and the client may come back":                {pidfile.Record{Promise: pidfile.Promise{IdleStop: time.Minute}}, with(up, func(v *view) { v.clients, v.lastUse = true, ago(reconnects-1) }), goOn},
		"idle, and the client has not come back":            {pidfile.Record{Promise: pidfile.Promise{IdleStop: time.Minute}}, with(up, func(v *view) { v.clients, v.lastUse = true, ago(reconnects) }), endIt},
		"idle for less than a client takes, but not D":      {pidfile.Record{Promise: pidfile.Promise{IdleStop: 2 * reconnects}}, with(up, func(v *view) { v.clients, v.lastUse = true, ago(reconnects) }), goOn},
		"died, and nobody said what then":                   {pidfile.Record{Promise: pidfile.Promise{EndWith: holders}}, with(died, func(v *view) { v.holders = true }), goOn},
		"dead, and nobody said what then":                   {pidfile.Record{Promise: pidfile.Promise{EndWith: holders}}, with(died, func(v *view) { v.holders, v.deadFrom = true, ago(deathPause) }), endIt},
		"dead, and its start has not told of it":            {pidfile.Record{Asking: true, Prober: self, Promise: pidfile.Promise{EndWith: holders}}, with(died, func(v *view) { v.holders, v.deadFrom = true, ago(time.Minute) }), goOn},
		"dead, and its start was killed":                    {pidfile.Record{Asking: true, Prober: gone, Promise: pidfile.Promise{EndWith: holders}}, with(died, func(v *view) { v.holders, v.deadFrom = true, ago(deathPause) }), endIt},
		"died under its client":                             {pidfile.Record{Promise: pidfile.Promise{KeepAlive: true, ForGood: true}}, with(died, func(v *view) { v.clients = true }), revive},
		"died while its holder lives":                       {pidfile.Record{Promise: pidfile.Promise{KeepAlive: true, EndWith: holders}}, with(died, func(v *view) { v.holders = true }), revive},
		"died long after its client's last try":             {pidfile.Record{Promise: pidfile.Promise{KeepAlive: true, ForGood: true}}, with(died, func(v *view) { v.clients, v.lastUse, v.deadFrom = true, ago(reconnects), ago(deathPause) }), endIt},
		"died after its client":                             {pidfile.Record{Promise: pidfile.Promise{KeepAlive: true, ForGood: true}}, with(died, func(v *view) { v.deadFrom = ago(deathPause) }), endIt},
		"died after a stop":                                 {pidfile.Record{EndIdle: true, Promise: pidfile.Promise{KeepAlive: true}}, with(died, func(v *view) { v.clients, v.holders, v.deadFrom = true, true, ago(deathPause) }), endIt},
		"died, and it is not known how to revive it":        {pidfile.Record{Promise: pidfile.Promise{KeepAlive: true}}, with(died, func(v *view) { v.clients, v.canRevive, v.deadFrom = true, false, ago(deathPause) }), endIt},
		"died as a replacement":                             {pidfile.Record{Promise: pidfile.Promise{EndWith: holders}}, with(died, func(v *view) { v.holders, v.owes, v.deadFrom = true, true, ago(time.Hour) }), revive},
		"died as a replacement, and a stop came":            {pidfile.Record{EndIdle: true, Promise: pidfile.Promise{EndWith: holders}}, with(died, func(v *view) { v.holders, v.owes, v.deadFrom = true, true, ago(deathPause) }), endIt},
		"died as a replacement that nobody waits for":       {pidfile.Record{Promise: pidfile.Promise{EndWith: holders, IdleStop: time.Minute}}, with(died, func(v *view) { v.owes, v.deadFrom = true, ago(deathPause) }), endIt},
		"handed over, and the client is to come":            {given, since(TimeToConnect - 1), goOn},
		"handed over, and the client has not come":          {given, since(TimeToConnect), endIt},
		"handed over long ago, and it is connected":         {given, with(came(time.Hour), func(v *view) { v.connected = true }), goOn},
		"handed over, and the client may reconnect":         {given, came(timeToReconnect - 1), goOn},
		"handed over, and the client has left":              {given, came(timeToReconnect), endIt},
		"handed over, and the client lives on elsewhere":    {given, with(came(timeToReconnect), func(v *view) { v.clients = true }), endIt},
		"handed over, with a holder":                        {pidfile.Record{HandedOver: now, Promise: pidfile.Promise{EndWith: holders}}, with(since(time.Hour), func(v *view) { v.holders = true }), goOn},
		"handed over, and another holder has gone":          {pidfile.Record{HandedOver: now, Promise: pidfile.Promise{EndWith: holders}}, since(TimeToConnect - 1), goOn},
		"handed over, and a stop came":                      {pidfile.Record{HandedOver: now, EndIdle: true}, since(0), endIt},
		"handed over, and it is kept":                       {pidfile.Record{HandedOver: now, Promise: pidfile.Promise{ForGood: true}}, since(TimeToConnect), leave},
		"handed over until idle, nobody has come":           {idleGiven, since(time.Minute), endIt},
		"handed over until idle, somebody is to come":       {pidfile.Record{HandedOver: now, Promise: pidfile.Promise{IdleStop: time.Second}}, since(TimeToConnect - 1), goOn},
		"handed over until idle, not for long enough":       {idleGiven, came(time.Minute - 1), goOn},
		"handed over until idle, for long enough":           {idleGiven, came(time.Minute), endIt},
		"its script has ended, and the client is to come":   {scripted, passed, handOver},
		"its script has ended, and the client is connected": {scripted, with(passed, func(v *view) { v.connected = true }), handOver},
		"its script has ended, and that is known":           {pidfile.Record{Promised: ago(time.Second), HandedOver: now, Promise: pidfile.Promise{EndWith: holders}}, with(passed, func(v *view) { v.handedFrom = now }), goOn},
		"its script has ended, and another holder lives":    {scripted, with(passed, func(v *view) { v.holders = true }), goOn},
		"its script has ended, and it is kept":              {pidfile.Record{Promised: now, Promise: pidfile.Promise{EndWith: holders, ForGood: true}}, passed, leave},
		"its script has ended, and a stop came":             {pidfile.Record{Promised: now, EndIdle: true, Promise: pidfile.Promise{EndWith: holders}}, passed, endIt},
		"a stop came, and a client is to come":              {stopped, since(stopPause - 1), goOn},
		"a stop came, and no client has come":               {stopped, since(stopPause), endIt},
		"a stop came, and the client has come and gone":     {stopped, with(since(0), func(v *view) { v.used = true }), endIt},
		"a stop came, and the client is gone":               {pidfile.Record{Promised: now, Shared: true, EndIdle: true, Awaited: []process.Identity{gone}}, since(0), endIt},
		"a stop came, and nobody else has started it":       {pidfile.Record{Promised: now, EndIdle: true, Promise: pidfile.Promise{EndWith: []process.Identity{self}}}, since(0), endIt},
		"the client has come":                               {promised, with(busy, func(v *view) { v.holders, v.used = true, true }), noteUse},
		"the client has come and gone":                      {promised, with(held, func(v *view) { v.used = true }), noteUse},
		"the client has come and gone, and its holder, too": {promised, with(up, func(v *view) { v.used = true }), endIt},
		"died before the other client came":                 {pidfile.Record{HandedOver: now, Promise: pidfile.Promise{KeepAlive: true}}, with(died, func(v *view) { v.handedFrom = now }), revive},
		"died after the other client": {pidfile.Record{HandedOver: now, Promise: pidfile.Promise{KeepAlive: true}}, with(died, func(v *view) {
			v.handedFrom, v.came, v.lastUse, v.deadFrom = ago(time.Hour), true, ago(timeToReconnect), ago(deathPause)
		}), endIt},
		"kept alive": {pidfile.Record{Promise: pidfile.Promise{KeepAlive: true, ForGood: true}}, up, goOn},
		"kept alive only for its holder, who is gone": {pidfile.Record{Promise: pidfile.Promise{KeepAlive: true, EndWith: holders}}, up, endIt},
	} {
		test.view.now = now
		if got := decide(test.rec, test.view); got != test.want {
			t.Errorf("%s: verdict %d, want %d", name, got, test.want)
		}
	}
}
