// Package homeassistant writes what makes Home Assistant find the devices of the
// gateway by itself: the messages of its MQTT discovery, one for each device.
//
// It knows the format and nothing else: package field publishes.
//
// Source: the MQTT integration of Home Assistant, "Discovery messages" and "Device
// discovery payload"; classes and units from the developer documentation of the
// sensor entity.
package homeassistant
