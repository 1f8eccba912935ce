"""What every bench measures with: the rig, the floors, clients, meters, figures, tables."""
