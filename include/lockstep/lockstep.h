/* SPDX-License-Identifier: Apache-2.0 */
/* lockstep.h - everything. */
#ifndef LOCKSTEP_LOCKSTEP_H
#define LOCKSTEP_LOCKSTEP_H

#include <lockstep/api.h>
#include <lockstep/checkpoint.h>
#include <lockstep/comm.h>
#include <lockstep/comm_hook.h>
#include <lockstep/data.h>
#include <lockstep/device.h>
#include <lockstep/dtype.h>
#include <lockstep/exec.h>
#include <lockstep/grad_scaler.h>
#include <lockstep/log.h>
#include <lockstep/lr_scheduler.h>
#include <lockstep/module.h>
#include <lockstep/moments.h>
#include <lockstep/optim.h>
#include <lockstep/optim_dict.h>
#include <lockstep/power_sgd.h>
#include <lockstep/rename.h>
#include <lockstep/replica.h>
#include <lockstep/replica_group.h>
#include <lockstep/state_dict.h>
#include <lockstep/status.h>
#include <lockstep/tensor.h>
#include <lockstep/topology.h>
#include <lockstep/trainer.h>
#include <lockstep/transform.h>
#include <lockstep/value.h>
#include <lockstep/version.h>

#endif
