package status

// metrics writes a report as Prometheus metrics. Names follow the usual rules: base units in the name
// (seconds, bytes), _total for counters, one family per thing with labels for the ones of its kind.
func metrics(r Report) []byte {
	var p prometheus
	p.family("gateway_info", "gauge", "Who answers; always 1.")
	p.sample(1, "id", r.Gateway.ID, "version", r.Gateway.Version, "commit", r.Gateway.Commit)
	p.gauge("gateway_uptime_seconds", "Time since the gateway started.", r.Gateway.Uptime)
	p.gauge("gateway_healthy", "1 if /healthz answers 200.", float64(b2i(len(r.Problems) == 0)))
	p.family("gateway_alarm", "gauge", "1 for each alarm that is raised.")
	for _, a := range r.Alarms {
		p.sample(1, "name", a.Name)
	}
	if r.Gateway.Memory > 0 {
		p.gauge("process_resident_memory_bytes", "Resident memory size in bytes.", float64(r.Gateway.Memory))
	}
	deviceMetrics(&p, r.Devices)
	cloudMetrics(&p, r.Clouds)
	brokerMetrics(&p, r.Broker)
	storeMetrics(&p, r.Store)
	return p.b.Bytes()
}

func deviceMetrics(p *prometheus, devices []Device) {
	each := func(name, kind, help string, value func(Device) float64) {
		p.family(name, kind, help)
		for _, d := range devices {
			p.sample(value(d), "device", d.Name, "kind", d.Kind)
		}
	}
	each("gateway_device_online", "gauge", "1 while the device answers.", func(d Device) float64 { return float64(b2i(d.Online)) })
	each("gateway_device_readings_total", "counter", "Readings taken since the start.", func(d Device) float64 { return float64(d.Readings) })
	each("gateway_device_errors_total", "counter", "Failed attempts to open, read or set the device since the start.", func(d Device) float64 { return float64(d.Errors) })
	p.family("gateway_device_reading_age_seconds", "gauge", "Age of the last reading.")
	for _, d := range devices {
		if d.Age != nil {
			p.sample(*d.Age, "device", d.Name, "kind", d.Kind)
		}
	}
	p.family("gateway_device_value", "gauge", "Last value of a channel while its device is online; true is 1, false is 0.")
	for _, d := range devices {
		if !d.Online {
			continue // a flat line of an old value would be taken for a measurement
		}
		for _, v := range d.Values {
			if n, ok := asNumber(v.Value); ok {
				p.sample(n, "device", d.Name, "channel", v.Channel, "quantity", v.Quantity, "unit", v.Unit)
			}
		}
	}
}

func cloudMetrics(p *prometheus, clouds []Cloud) {
	each := func(name, kind, help string, value func(Cloud) float64) {
		p.family(name, kind, help)
		for _, c := range clouds {
			p.sample(value(c), "cloud", c.Name)
		}
	}
	each("gateway_cloud_connected", "gauge", "1 while the link to the cloud is up.", func(c Cloud) float64 { return float64(b2i(c.Connected)) })
	each("gateway_cloud_queue_messages", "gauge", "Messages that wait for the cloud.", func(c Cloud) float64 { return float64(c.Queued) })
	each("gateway_cloud_queue_bytes", "gauge", "Bytes that wait for the cloud.", func(c Cloud) float64 { return float64(c.QueuedBytes) })
	p.family("gateway_cloud_queue_oldest_seconds", "gauge", "Age of the oldest message that waits for the cloud; 0 if none does.")
	for _, c := range clouds {
		switch {
		case c.Oldest != nil:
			p.sample(*c.Oldest, "cloud", c.Name)
		case c.Queued == 0:
			p.sample(0, "cloud", c.Name)
		}
	}
	p.family("gateway_cloud_backlog_messages", "gauge", "Messages of a backlog that were not sent since the link came up; 0 without one.")
	for _, c := range clouds {
		left := 0.0
		if c.Draining != nil {
			left = float64(c.Draining.Left)
		}
		p.sample(left, "cloud", c.Name)
	}
	p.family("gateway_cloud_backlog_remaining_seconds", "gauge", "Estimate of the time until a backlog is sent; absent if there is none, or it does not get smaller.")
	for _, c := range clouds {
		if c.Draining != nil && c.Draining.Remaining != nil {
			p.sample(*c.Draining.Remaining, "cloud", c.Name)
		}
	}
	each("gateway_cloud_sent_total", "counter", "Messages that the cloud has acknowledged.", func(c Cloud) float64 { return float64(c.Sent) })
	each("gateway_cloud_received_total", "counter", "Messages that came from the cloud.", func(c Cloud) float64 { return float64(c.Received) })
	each("gateway_cloud_dropped_total", "counter", "Messages for the cloud that a configured limit dropped.", func(c Cloud) float64 { return float64(c.Dropped) })
	each("gateway_cloud_expired_total", "counter", "Messages for the cloud that became too old before they were sent.", func(c Cloud) float64 { return float64(c.Expired) })
	each("gateway_cloud_replaced_total", "counter", "Messages for the cloud that a newer one of their topic replaced before they were sent.", func(c Cloud) float64 { return float64(c.Replaced) })
	each("gateway_cloud_purged_total", "counter", "Messages for the cloud that a person took from the queue.", func(c Cloud) float64 { return float64(c.Purged) })
	each("gateway_cloud_resent_total", "counter", "Messages sent to the cloud once more, marked as such.", func(c Cloud) float64 { return float64(c.Resent) })
	each("gateway_cloud_refused_total", "counter", "Messages from the cloud that this gateway did not take.", func(c Cloud) float64 { return float64(c.Refused) })
	each("gateway_cloud_connects_total", "counter", "Connections that the cloud accepted.", func(c Cloud) float64 { return float64(c.Connects) })
	each("gateway_cloud_sessions_lost_total", "counter", "Times the cloud had forgotten the gateway's session.", func(c Cloud) float64 { return float64(c.SessionsLost) })
	each("gateway_cloud_rejected_total", "counter", "Messages that the cloud refused for good.", func(c Cloud) float64 { return float64(c.Rejected) })
}

func brokerMetrics(p *prometheus, b Broker) {
	p.gauge("gateway_broker_clients", "Connected MQTT clients.", float64(b.Clients))
	p.gauge("gateway_broker_sessions", "Sessions, connected or kept.", float64(b.Sessions))
	p.gauge("gateway_broker_subscriptions", "Subscriptions of all sessions.", float64(b.Subscriptions))
	p.gauge("gateway_broker_retained_messages", "Topics with a retained message.", float64(b.Retained))
	p.counter("gateway_broker_messages_received_total", "Messages that clients have published.", b.Received)
	p.counter("gateway_broker_messages_sent_total", "Messages sent to clients.", b.Sent)
	p.counter("gateway_broker_messages_dropped_total", "Messages that a limit or a slow subscriber lost.", b.Dropped)
	p.counter("gateway_broker_messages_replaced_total", "Messages for a client that a newer one of their topic replaced before they were sent.", b.Replaced)
	p.counter("gateway_broker_messages_purged_total", "Messages for a client that a person took from its queue.", b.Purged)
	p.counter("gateway_broker_connections_refused_total", "Connections closed before or with their CONNECT.", b.Refused)
}

func storeMetrics(p *prometheus, s Store) {
	p.gauge("gateway_store_file_bytes", "Size of the store file.", float64(s.FileBytes))
	p.gauge("gateway_store_pending_bytes", "Bytes in memory that wait for a commit.", float64(s.Pending))
	p.counter("gateway_store_written_bytes_total", "Bytes written to the store file since the start.", s.Written)
	p.counter("gateway_store_commits_total", "Commits since the start.", s.Commits)
	p.counter("gateway_store_syncs_total", "Calls of fdatasync since the start.", s.Syncs)
	p.counter("gateway_store_cancelled_writes_total", "Writes that an early acknowledgement made unnecessary.", s.Cancelled)
	p.counter("gateway_store_failed_commits_total", "Commits that failed and were tried again.", s.Failures)
	p.counter("gateway_store_damaged_records_total", "Records that were skipped because their checksum was wrong.", s.Damaged)
	if s.CommitTime != nil {
		p.gauge("gateway_store_commit_seconds", "Mean duration of a commit since the start.", *s.CommitTime)
	}
}

func asNumber(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	case bool:
		return float64(b2i(v)), true
	}
	return 0, false
}
