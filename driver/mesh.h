/* The mesh that a compile asks for. */
#ifndef DLC_DRIVER_MESH_H
#define DLC_DRIVER_MESH_H

#include "driver/driver.h"

/* Gives the module the call's mesh, where it has one; leaves when that is none. */
void driver_mesh(Driver *d);

#endif
